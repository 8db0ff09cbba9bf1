/** A perceiver phase of 30 steps alone under three seeds: what it gains, and how much that varies. */
import { defineStudy } from './study.ts';
import quickstart from './tiny-quickstart.ts';

export default defineStudy({
  ...quickstart,
  name: 'tiny-perceiver-phase',
  title: 'The perceiver phase under three seeds',
  schedule: ['perceiver'],
  evaluation: { ...quickstart.evaluation, scenes: 60 },
  sweep: { seed: [1, 2, 3] },
});
