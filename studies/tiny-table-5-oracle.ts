/** Table 5 on needle scenes. */
import { defineStudy } from './study.ts';
import { TINY } from './tiny-settings.ts';

export default defineStudy({
  ...TINY,
  name: 'tiny-table-5-oracle',
  title: 'What perfect boxes would give',
  iterations: 0,
  evaluation: { ...TINY.evaluation, strategies: ['direct', 'oracle'] },
});
