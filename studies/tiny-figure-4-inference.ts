/** Figure 4 on needle scenes; its training is the quickstart's and is reused. */
import { defineStudy } from './study.ts';
import quickstart from './tiny-quickstart.ts';

export default defineStudy({
  ...quickstart,
  name: 'tiny-figure-4-inference',
  title: 'Direct answers against perceive-to-reason',
  evaluation: { ...quickstart.evaluation, strategies: ['direct', 'p2r'] },
});
