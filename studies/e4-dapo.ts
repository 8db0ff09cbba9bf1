/** Appendix E.4: GRPO against DAPO, which leaves out the KL term and keeps only groups that teach. */
import { PAPER_4B, questionsOf } from './paper-settings.ts';
import { defineStudy } from './study.ts';

export default defineStudy({
  ...PAPER_4B,
  name: 'e4-dapo',
  title: 'GRPO against DAPO, and whether boxes collapse',
  evaluation: { ...PAPER_4B.evaluation, benchmarks: questionsOf(['V-Star']) },
  cases: {
    grpo: {},
    dapo: {
      algorithm: {
        name: 'dapo',
        clip_ratio_high: 0.28,
        max_generation_batches: 3,
        overlong_buffer: 256,
        overlong_penalty: 1,
      },
      'perceiver.kl_loss_coef': 0,
      'reasoner.kl_loss_coef': 0,
    },
  },
  reproduces: {
    item: 'Appendix E.4',
    claim:
      'Under DAPO the box count of the perceiver falls quickly to one, and V-Star Spatial to 85.8, where GRPO reaches 94.7.',
    benchmarks: ['V-Star'],
    twin: 'tiny-e4-dapo',
  },
});
