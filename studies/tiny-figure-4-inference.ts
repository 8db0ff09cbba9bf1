/** Figure 4 on needle scenes; its training is the quickstart's and is reused. */
import { defineStudy } from './study.ts';
import { TINY } from './tiny-settings.ts';

export default defineStudy({
  ...TINY,
  name: 'tiny-figure-4-inference',
  title: 'Direct answers against perceive-to-reason',
  evaluation: { ...TINY.evaluation, strategies: ['direct', 'p2r'] },
});
