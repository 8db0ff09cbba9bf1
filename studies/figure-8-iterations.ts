/** Figure 8: three iterations of PRA-GRPO against as many of text-only GRPO on the same questions. */
import { PAPER_4B, PAPER_PHASE, questionsOf } from './paper-settings.ts';
import { defineStudy } from './study.ts';

export default defineStudy({
  ...PAPER_4B,
  name: 'figure-8-iterations',
  title: 'Three iterations against text-only GRPO',
  evaluation: { ...PAPER_4B.evaluation, benchmarks: questionsOf(['MME-RealWorld-Lite']) },
  iterations: 3,
  direct: { ...PAPER_PHASE, max_prompt_length: 2560, max_response_length: 2048 },
  cases: {
    'pra-grpo': { 'evaluation.strategies': ['p2r'] },
    'text-only': { schedule: ['direct'], 'evaluation.strategies': ['direct'] },
  },
  reproduces: {
    item: 'Figure 8',
    claim:
      'On MME-RealWorld-Lite PRA-GRPO rises from 54.8 to 57.1 (fitted slope 0.77), text-only GRPO from 53.8 to 55.1 (0.43).',
    benchmarks: ['MME-RealWorld-Lite'],
    twin: 'tiny-figure-8-iterations',
  },
});
