/** Figure 11 on needle scenes: the same answers as tiny-figure-4-inference, with their times. */
import { defineStudy } from './study.ts';
import { TINY } from './tiny-settings.ts';

export default defineStudy({
  ...TINY,
  name: 'tiny-figure-11-throughput',
  title: 'Throughput against accuracy',
  evaluation: { ...TINY.evaluation, strategies: ['direct', 'p2r'] },
});
