/** A perceiver phase of 30 steps alone under three seeds: what it gains, and how much that varies. */
import { defineStudy } from './study.ts';
import { TINY } from './tiny-settings.ts';

export default defineStudy({
  ...TINY,
  name: 'tiny-perceiver-phase',
  title: 'The perceiver phase under three seeds',
  schedule: ['perceiver'],
  sweep: { seed: [1, 2, 3] },
});
