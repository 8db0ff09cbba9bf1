/** Table 4 on needle scenes: every object asked about must be matched at IoU 0.5. */
import { defineStudy } from './study.ts';
import quickstart from './tiny-quickstart.ts';

export default defineStudy({
  ...quickstart,
  name: 'tiny-table-4-grounding',
  title: 'Grounding without grounding data',
  evaluation: { ...quickstart.evaluation, strategies: ['grounding'] },
});
