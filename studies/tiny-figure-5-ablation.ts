/** Figure 5 on needle scenes: four schedules from one base. */
import paper from './figure-5-ablation.ts';
import { defineStudy } from './study.ts';
import { TINY } from './tiny-settings.ts';

export default defineStudy({
  ...TINY,
  name: 'tiny-figure-5-ablation',
  title: 'Which roles are trained, and in which order',
  cases: paper.cases,
});
