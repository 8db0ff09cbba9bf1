/** The checkpoints of Table 3 on needle scenes, the same as those of tiny-figure-5-ablation. */

import { defineStudy } from './study.ts';
import paper from './table-3-cross-checkpoints.ts';
import quickstart from './tiny-quickstart.ts';

export default defineStudy({
  ...quickstart,
  name: 'tiny-table-3-cross-checkpoints',
  title: 'Checkpoints for the cross-checkpoint matrix',
  cases: paper.cases,
});
