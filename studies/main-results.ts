/** Tables 1 and 2: P2R-2B, P2R-4B and P2R-8B, each after one iteration of PRA-GRPO. */
import { HIGH_RESOLUTION, PAPER_4B, questionsOf, SIZES } from './paper-settings.ts';
import { defineStudy } from './study.ts';

export default defineStudy({
  ...PAPER_4B,
  name: 'main-results',
  title: 'P2R against its bases at three sizes',
  evaluation: { ...PAPER_4B.evaluation, benchmarks: questionsOf([...HIGH_RESOLUTION, 'MME-RealWorld-Lite']) },
  cases: SIZES,
  reproduces: {
    item: 'Tables 1 and 2',
    claim:
      'P2R improves every base: on average over V-Star, HR-Bench-4K and 8K by 8.1 (2B), 11.0 (4B) and 9.7 points (8B), on MME-RealWorld-Lite by 4.0, 7.1 and 7.0.',
    benchmarks: [...HIGH_RESOLUTION, 'MME-RealWorld-Lite'],
    twin: 'tiny-main-results',
  },
});
