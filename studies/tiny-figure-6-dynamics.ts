/** Figures 6, 9 and 10 on needle scenes: the quickstart with every saved checkpoint evaluated. */
import { defineStudy } from './study.ts';
import { TINY } from './tiny-settings.ts';

export default defineStudy({
  ...TINY,
  name: 'tiny-figure-6-dynamics',
  title: 'Every checkpoint of both phases',
  evaluation: { ...TINY.evaluation, checkpoints: 'all' },
});
