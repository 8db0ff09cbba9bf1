/** Figure 12 on needle scenes. */
import { defineStudy } from './study.ts';
import { TINY } from './tiny-settings.ts';

export default defineStudy({
  ...TINY,
  name: 'tiny-figure-12-boxes',
  title: 'Where the boxes come from',
  evaluation: { ...TINY.evaluation, strategies: ['none', 'random', 'p2r', 'oracle'] },
});
