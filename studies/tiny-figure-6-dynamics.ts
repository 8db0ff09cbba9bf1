/** Figures 6, 9 and 10 on needle scenes: the quickstart with every saved checkpoint evaluated. */
import { defineStudy } from './study.ts';
import quickstart from './tiny-quickstart.ts';

export default defineStudy({
  ...quickstart,
  name: 'tiny-figure-6-dynamics',
  title: 'Every checkpoint of both phases',
  evaluation: { ...quickstart.evaluation, checkpoints: 'all' },
});
