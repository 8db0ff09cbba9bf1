/** Table 4: boxes for queries that need reasoning, scored at IoU 0.5. */
import { PAPER_4B, questionsOf } from './paper-settings.ts';
import { defineStudy } from './study.ts';

export default defineStudy({
  ...PAPER_4B,
  name: 'table-4-grounding',
  title: 'Grounding without grounding data',
  evaluation: { ...PAPER_4B.evaluation, benchmarks: questionsOf(['ReasonSeg']), strategies: ['grounding'] },
  reproduces: {
    item: 'Table 4',
    claim:
      'PRA-GRPO transfers to ReasonSeg: Acc@0.5 rises from 59.1 to 59.6 (test) and from 64.1 to 65.9 (validation).',
    benchmarks: ['ReasonSeg'],
    twin: 'tiny-table-4-grounding',
  },
});
