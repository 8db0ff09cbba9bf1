/** The quickstart twice over: the second perceiver phase is judged by a reasoner that has learned. */

import { defineStudy } from './study.ts';
import quickstart from './tiny-quickstart.ts';

export default defineStudy({
  ...quickstart,
  name: 'tiny-two-iterations',
  title: 'Two iterations of PRA-GRPO on needle scenes',
  iterations: 2,
});
