/** The quickstart's perceiver phase alone under three seeds: what it gains, and how much that varies. */
import { defineStudy } from './study.ts';
import quickstart from './tiny-quickstart.ts';

export default defineStudy({
  ...quickstart,
  name: 'tiny-perceiver-phase',
  title: 'The perceiver phase under three seeds',
  schedule: ['perceiver'],
  sweep: { seed: [1, 2, 3] },
});
