/** Figure 5 on needle scenes: four schedules from one base. */
import paper from './figure-5-ablation.ts';
import { defineStudy } from './study.ts';
import quickstart from './tiny-quickstart.ts';

export default defineStudy({
  ...quickstart,
  name: 'tiny-figure-5-ablation',
  title: 'Which roles are trained, and in which order',
  cases: paper.cases,
});
