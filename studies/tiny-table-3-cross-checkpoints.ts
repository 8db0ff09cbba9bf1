/** Table 3 on needle scenes; its checkpoints are those of tiny-figure-5-ablation. */

import { defineStudy } from './study.ts';
import paper from './table-3-cross-checkpoints.ts';
import { TINY } from './tiny-settings.ts';

export default defineStudy({
  ...TINY,
  name: 'tiny-table-3-cross-checkpoints',
  title: 'Perceiver and reasoner from different checkpoints',
  cases: paper.cases,
});
