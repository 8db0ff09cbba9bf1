/** Figure 11: questions a second against accuracy, for direct answers and P2R at three sizes. */
import { HIGH_RESOLUTION, PAPER_4B, questionsOf, SIZES } from './paper-settings.ts';
import { defineStudy } from './study.ts';

export default defineStudy({
  ...PAPER_4B,
  name: 'figure-11-throughput',
  title: 'Throughput against accuracy',
  cases: SIZES,
  evaluation: {
    ...PAPER_4B.evaluation,
    benchmarks: questionsOf(HIGH_RESOLUTION),
    strategies: ['direct', 'p2r'],
  },
  reproduces: {
    item: 'Figure 11',
    claim:
      'P2R is slower than direct answers but far more accurate than its base, and faster and more accurate than tool use.',
    benchmarks: HIGH_RESOLUTION,
    twin: 'tiny-figure-11-throughput',
  },
});
