/** Figures 6, 9 and 10: hit rate, IoU, accuracy, box count and box size along both phases. */
import { HIGH_RESOLUTION, PAPER_4B, questionsOf } from './paper-settings.ts';
import { defineStudy } from './study.ts';

export default defineStudy({
  ...PAPER_4B,
  name: 'figure-6-dynamics',
  title: 'Every checkpoint of both phases',
  evaluation: {
    ...PAPER_4B.evaluation,
    benchmarks: questionsOf([...HIGH_RESOLUTION, 'MME-RealWorld-Lite']),
    checkpoints: 'all',
  },
  reproduces: {
    item: 'Figures 6, 9 and 10',
    claim:
      'Hit rate and IoU rise in the perceiver phase and stay in the reasoner phase; accuracy rises in both; box count and size rise, then fall.',
    benchmarks: [...HIGH_RESOLUTION, 'MME-RealWorld-Lite'],
    twin: 'tiny-figure-6-dynamics',
  },
});
