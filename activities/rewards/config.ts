import { z } from 'zod';

/** What a process of the reward service is started with. */
export const RewardConfig = z.object({
  role: z.enum(['perceiver', 'reasoner', 'direct']),
  scenes: z.string(),
  perceptions_file: z.string(),
  model_endpoint_file: z.string(),
  ready_file: z.string(),
  host: z.string(),
  token: z.string().min(16),
  /** Its own first: that one is appended to, all are remembered. */
  judgements_files: z.array(z.string()).min(1),
  context: z.string(),
  prompt_set: z.enum(['paper', 'authors', 'qwen']),
  image_rules: z.enum(['paper', 'tiny']),
  extractor: z.literal('p2r@1'),
  perceiver_max_tokens: z.int(),
  reasoner_max_tokens: z.int(),
  concurrency: z.int(),
});
export type RewardConfig = z.infer<typeof RewardConfig>;

/** Back-pressure of a process: completions being judged, completions that wait for their turn, and all judged since it started. */
export const RewardLoad = z.object({
  running: z.int().min(0),
  waiting: z.int().min(0),
  judged: z.int().min(0),
});
export type RewardLoad = z.infer<typeof RewardLoad>;
