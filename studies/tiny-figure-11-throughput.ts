/** Figure 11 on needle scenes: the same answers as tiny-figure-4-inference, with their times. */
import { defineStudy } from './study.ts';
import quickstart from './tiny-quickstart.ts';

export default defineStudy({
  ...quickstart,
  name: 'tiny-figure-11-throughput',
  title: 'Throughput against accuracy',
  evaluation: { ...quickstart.evaluation, strategies: ['direct', 'p2r'] },
});
