/** Table 4 on needle scenes: every object asked about must be matched at IoU 0.5. */
import { defineStudy } from './study.ts';
import { TINY } from './tiny-settings.ts';

export default defineStudy({
  ...TINY,
  name: 'tiny-table-4-grounding',
  title: 'Grounding without grounding data',
  evaluation: { ...TINY.evaluation, strategies: ['grounding'] },
});
