/** One iteration of PRA-GRPO with the 6 M-parameter model on two CPU cores: the README's first command. */
import { defineStudy } from './study.ts';
import { TINY } from './tiny-settings.ts';

export default defineStudy({
  ...TINY,
  name: 'tiny-quickstart',
  title: 'One perceiver and one reasoner phase on needle scenes',
  evaluation: { ...TINY.evaluation, scenes: 30 },
});
