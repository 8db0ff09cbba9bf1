/** Appendix E.4 on needle scenes: the perceiver phase under either algorithm. */
import { defineStudy } from './study.ts';
import { TINY } from './tiny-settings.ts';

export default defineStudy({
  ...TINY,
  name: 'tiny-e4-dapo',
  title: 'GRPO against DAPO, and whether boxes collapse',
  schedule: ['perceiver'],
  cases: {
    grpo: {},
    dapo: {
      algorithm: {
        name: 'dapo',
        clip_ratio_high: 0.28,
        max_generation_batches: 2,
        overlong_buffer: 20,
        overlong_penalty: 1,
      },
      'perceiver.kl_loss_coef': 0,
      'reasoner.kl_loss_coef': 0,
    },
  },
});
