/** Table 5 on needle scenes. */
import { defineStudy } from './study.ts';
import quickstart from './tiny-quickstart.ts';

export default defineStudy({
  ...quickstart,
  name: 'tiny-table-5-oracle',
  title: 'What perfect boxes would give',
  iterations: 0,
  evaluation: { ...quickstart.evaluation, strategies: ['direct', 'oracle'] },
});
