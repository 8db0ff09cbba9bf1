/** Figure 4: direct chain of thought against P2R inference, on the base and on P2R-4B. */
import { HIGH_RESOLUTION, PAPER_4B, questionsOf } from './paper-settings.ts';
import { defineStudy } from './study.ts';

export default defineStudy({
  ...PAPER_4B,
  name: 'figure-4-inference',
  title: 'Direct answers against perceive-to-reason',
  evaluation: {
    ...PAPER_4B.evaluation,
    benchmarks: questionsOf(HIGH_RESOLUTION),
    strategies: ['direct', 'p2r'],
  },
  reproduces: {
    item: 'Figure 4',
    claim:
      'P2R inference beats direct CoT on both models: on V-Star 81.7 to 89.0 (base) and 84.8 to 93.2 (P2R-4B).',
    benchmarks: HIGH_RESOLUTION,
    twin: 'tiny-figure-4-inference',
  },
});
