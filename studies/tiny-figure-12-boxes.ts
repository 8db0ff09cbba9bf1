/** Figure 12 on needle scenes. */
import { defineStudy } from './study.ts';
import quickstart from './tiny-quickstart.ts';

export default defineStudy({
  ...quickstart,
  name: 'tiny-figure-12-boxes',
  title: 'Where the boxes come from',
  evaluation: { ...quickstart.evaluation, strategies: ['none', 'random', 'p2r', 'oracle'] },
});
