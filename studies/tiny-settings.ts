/** What the tiny twins have in common: the 6 M-parameter model on two CPU cores, and 240 held-out questions about 60 needle scenes. */
import type { z } from 'zod';
import { PAPER_PHASE } from './paper-settings.ts';
import type { Study } from './study.ts';

const common = {
  ...PAPER_PHASE,
  train_batch_size: 8,
  ppo_mini_batch_size: 8,
  weight_decay: 0,
  max_prompt_length: 512,
  save_freq: 5,
} as const;

/** One iteration of PRA-GRPO; a twin adds its name, its title and what it varies. */
export const TINY = {
  seed: 1,
  model: 'models/tiny',
  iterations: 1,
  prompt_set: 'paper',
  image_rules: 'tiny',
  extractor: 'p2r@1',
  serving: { kind: 'embedded' },
  engine: { name: 'trl', device: 'cpu', dtype: 'float32', threads: 2 },
  // Where one object lies from another is seen without a box, so such questions would only add noise to the perceiver's rewards. A
  // comparison is guessed right half of the time, but it and a count are what teaches a second box.
  questions: { perceiver: ['letter', 'same', 'count'], reasoner: ['letter', 'same', 'spatial', 'count'] },
  perceiver: { ...common, lr: 5e-5, total_steps: 30, save_freq: 10, max_response_length: 130 },
  reasoner: { ...common, lr: 3e-5, total_steps: 10, max_response_length: 60 },
  evaluation: {
    scenes: 60,
    questions_per_scene: 4,
    perceiver_max_tokens: 130,
    reasoner_max_tokens: 60,
    concurrency: 32,
  },
} satisfies Omit<z.input<typeof Study>, 'name' | 'title'>;
