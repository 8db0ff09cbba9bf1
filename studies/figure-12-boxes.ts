/** Figure 12: no boxes, random boxes, the model's own and the ground truth's, on the base and on P2R-4B. */
import { PAPER_4B, questionsOf } from './paper-settings.ts';
import { defineStudy } from './study.ts';

export default defineStudy({
  ...PAPER_4B,
  name: 'figure-12-boxes',
  title: 'Where the boxes come from',
  evaluation: {
    ...PAPER_4B.evaluation,
    benchmarks: questionsOf(['V-Star']),
    strategies: ['none', 'random', 'p2r', 'oracle'],
  },
  reproduces: {
    item: 'Figure 12',
    claim:
      "Own boxes beat none, random ones hurt, and the trained model's own (93.2) come close to the ground truth's (93.7) on V-Star.",
    benchmarks: ['V-Star'],
    twin: 'tiny-figure-12-boxes',
  },
});
