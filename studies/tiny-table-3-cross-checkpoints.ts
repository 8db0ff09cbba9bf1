/** The checkpoints of Table 3 on needle scenes, the same as those of tiny-figure-5-ablation. */
import { defineStudy } from './study.ts';
import quickstart from './tiny-quickstart.ts';

export default defineStudy({
  ...quickstart,
  name: 'tiny-table-3-cross-checkpoints',
  title: 'Checkpoints for the cross-checkpoint matrix',
  cases: {
    'p-only': { schedule: ['perceiver'] },
    'r-only': { schedule: ['reasoner'] },
    full: { schedule: ['perceiver', 'reasoner'] },
  },
});
