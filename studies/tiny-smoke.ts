/** Two steps a phase with four prompts and four rollouts: proves the whole path in a minute or two, shows nothing about learning. */

import { defineStudy } from './study.ts';
import quickstart from './tiny-quickstart.ts';

const steps = {
  train_batch_size: 4,
  ppo_mini_batch_size: 4,
  ppo_micro_batch_size: 4,
  rollout_n: 4,
  total_steps: 2,
  save_freq: 1,
};

export default defineStudy({
  ...quickstart,
  name: 'tiny-smoke',
  title: 'Two steps a phase, to see that everything works',
  perceiver: { ...quickstart.perceiver, ...steps },
  reasoner: { ...quickstart.reasoner, ...steps },
  evaluation: { ...quickstart.evaluation, scenes: 4 },
});
