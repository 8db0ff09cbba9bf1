/** Table 5: the base with ground-truth boxes against the base alone. Nothing is trained. */
import { PAPER_4B, questionsOf } from './paper-settings.ts';
import { defineStudy } from './study.ts';

export default defineStudy({
  ...PAPER_4B,
  name: 'table-5-oracle',
  title: 'What perfect boxes would give',
  iterations: 0,
  evaluation: {
    ...PAPER_4B.evaluation,
    benchmarks: questionsOf(['V-Star']),
    strategies: ['direct', 'oracle'],
  },
  reproduces: {
    item: 'Table 5',
    claim: 'Ground-truth boxes and crops lift Qwen3-VL-4B on V-Star from 81.7 to 90.6.',
    benchmarks: ['V-Star'],
    twin: 'tiny-table-5-oracle',
  },
});
