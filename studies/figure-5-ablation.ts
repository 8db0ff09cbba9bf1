/** Figure 5: either role alone, and both in either order. Common first phases are computed once. */
import { HIGH_RESOLUTION, PAPER_4B, questionsOf } from './paper-settings.ts';
import { defineStudy } from './study.ts';

export default defineStudy({
  ...PAPER_4B,
  name: 'figure-5-ablation',
  title: 'Which roles are trained, and in which order',
  evaluation: { ...PAPER_4B.evaluation, benchmarks: questionsOf(HIGH_RESOLUTION) },
  cases: {
    'p-only': { schedule: ['perceiver'] },
    'r-only': { schedule: ['reasoner'] },
    'p-then-r': { schedule: ['perceiver', 'reasoner'] },
    'r-then-p': { schedule: ['reasoner', 'perceiver'] },
  },
  reproduces: {
    item: 'Figure 5',
    claim:
      'Either role alone improves the base, both together more, and P then R (V-Star 93.2) more than R then P (90.6).',
    benchmarks: HIGH_RESOLUTION,
    twin: 'tiny-figure-5-ablation',
  },
});
