/** What a study is: the schema of a study file, with the paper's names and Table 6's meaning. */
import { z } from 'zod';

/** Hyper-parameters of one training phase (names of Table 6 of the paper; units in docs/metrics.md). */
export const Hyperparameters = z.strictObject({
  train_batch_size: z.int().min(1).describe('prompts per step'),
  rollout_n: z.int().min(2).describe('rollouts G per prompt'),
  ppo_mini_batch_size: z.int().min(1).describe('prompts per optimiser step'),
  ppo_micro_batch_size: z.int().min(1).describe('prompts per forward and backward pass'),
  lr: z.number().positive(),
  weight_decay: z.number().min(0),
  grad_clip: z.number().positive(),
  kl_loss_coef: z.number().min(0),
  kl_loss_type: z.literal('low_var_kl'),
  entropy_coeff: z.literal(0),
  clip_ratio: z.number().positive().max(1),
  loss_agg_mode: z.literal('token-mean'),
  temperature: z.number().positive(),
  max_prompt_length: z.int().min(1),
  max_response_length: z.int().min(1),
  total_steps: z.int().min(1),
  save_freq: z.int().min(1).describe('steps between checkpoints'),
});
export type Hyperparameters = z.infer<typeof Hyperparameters>;

/** How a frozen role or a checkpoint under evaluation is served. */
export const Serving = z.discriminatedUnion('kind', [
  z
    .strictObject({ kind: z.literal('transformers') })
    .describe('transformers serve, in the project environment'),
  z.strictObject({ kind: z.literal('embedded') }).describe('the batching server of engines/'),
  z.strictObject({ kind: z.literal('vllm'), python: z.string(), arguments: z.array(z.string()).default([]) }),
  z
    .strictObject({ kind: z.literal('endpoint'), url: z.url(), model: z.string() })
    .describe('a server that is already there'),
]);
export type Serving = z.infer<typeof Serving>;

/** Kinds of needle questions: one object's letter, whether two letters are the same, where one object lies from another. */
export const QuestionKind = z.enum(['letter', 'same', 'spatial']);
export type QuestionKind = z.infer<typeof QuestionKind>;

/** Quantities of metrics.jsonl that an acceptance rule may look at (docs/metrics.md). */
export const AcceptanceMetric = z.enum([
  'reward_mean',
  'accuracy',
  'hit_rate',
  'iou',
  'precision',
  'box_count',
  'box_size',
  'kl',
  'entropy',
  'completion_length',
  'clipped_completions',
  'zero_variance_groups',
]);

/**
 * A rule that a finished phase must meet, over the mean of its last `window` steps: a bound, or a factor of the mean of its first
 * `window` steps (`box_count` at least .5 times its start: no collapse).
 */
export const AcceptanceRule = z.strictObject({
  role: z.enum(['perceiver', 'reasoner']),
  metric: AcceptanceMetric,
  window: z.int().min(1).default(5),
  at_least: z.number().optional(),
  at_most: z.number().optional(),
  at_least_times_start: z.number().positive().optional(),
});
export type AcceptanceRule = z.infer<typeof AcceptanceRule>;

/** What happens before a person is asked: `role`'s phase is tried again up to `times` times with these hyper-parameters. */
export const AutomaticRetry = z.strictObject({
  role: z.enum(['perceiver', 'reasoner']),
  times: z.int().min(1).max(20),
  overrides: Hyperparameters.partial(),
});
export type AutomaticRetry = z.infer<typeof AutomaticRetry>;

/** A study: everything that decides the result, and nothing else. */
export const Study = z.strictObject({
  name: z.string().regex(/^[a-z][a-z0-9-]{0,60}$/, 'use lower-case letters, digits and "-"'),
  title: z.string(),
  seed: z.int().min(0).max(1_000_000),
  model: z.string().describe('Hugging Face directory of the base, relative to the project'),
  iterations: z.int().min(1).max(100),
  roles: z
    .array(z.enum(['perceiver', 'reasoner']))
    .min(1)
    .max(2)
    .refine((roles) => new Set(roles).size === roles.length, 'name each role once')
    .default(['perceiver', 'reasoner'])
    .describe('phases of an iteration, in order'),
  early_stop: z
    .strictObject({ patience: z.int().min(1), min_gain: z.number().min(0).max(1) })
    .optional()
    .describe('end when held-out P2R accuracy has not risen by min_gain for so many iterations'),
  gate: z
    .strictObject({
      acceptance: z.array(AcceptanceRule).default([]),
      retries: z.array(AutomaticRetry).default([]),
    })
    .prefault({})
    .describe('when a finished phase is taken, and what is tried before a person is asked'),
  prompt_set: z.enum(['paper', 'authors', 'qwen']),
  image_rules: z.enum(['paper', 'tiny']),
  extractor: z.literal('p2r@1'),
  serving: Serving,
  engine: z.strictObject({
    name: z.literal('trl'),
    device: z.enum(['cpu', 'cuda']),
    dtype: z.enum(['float32', 'bfloat16']),
    threads: z.int().min(1).max(256),
  }),
  questions: z
    .strictObject({ perceiver: z.array(QuestionKind).min(1), reasoner: z.array(QuestionKind).min(1) })
    .describe('kinds that each role trains on; evaluation asks all'),
  perceiver: Hyperparameters,
  reasoner: Hyperparameters,
  evaluation: z.strictObject({
    scenes: z.int().min(1).describe('held-out scenes'),
    questions_per_scene: z.int().min(1).max(3),
    perceiver_max_tokens: z.int().min(1),
    reasoner_max_tokens: z.int().min(1),
    concurrency: z.int().min(1).max(256),
  }),
});
export type Study = z.infer<typeof Study>;

/** A study file that does not fit; the message names the key and what it allows. */
export class StudyInvalidError extends Error {
  constructor(where: string, problems: string[]) {
    super(`${where} is not a valid study: ${problems.join('; ')}.`);
    this.name = 'StudyInvalidError';
  }
}

/** Why these batch sizes do not fit each other, one sentence each. */
export function batchProblems(hyperparameters: Hyperparameters): string[] {
  const { train_batch_size, ppo_mini_batch_size, ppo_micro_batch_size } = hyperparameters;
  const problems: string[] = [];
  if (ppo_mini_batch_size !== train_batch_size)
    problems.push(`ppo_mini_batch_size must equal train_batch_size (${train_batch_size}) with this engine`);
  if (train_batch_size % ppo_micro_batch_size !== 0)
    problems.push(`ppo_micro_batch_size must divide train_batch_size (${train_batch_size})`);
  return problems;
}

/** Validates a study value; throws {@link StudyInvalidError} with every wrong key. */
export function parseStudy(value: unknown, where: string): Study {
  const parsed = Study.safeParse(value);
  if (parsed.success) {
    const problems = (['perceiver', 'reasoner'] as const).flatMap((role) =>
      batchProblems(parsed.data[role]).map((problem) => `${role}.${problem}`),
    );
    if (problems.length > 0) throw new StudyInvalidError(where, problems);
    return parsed.data;
  }
  const problems = parsed.error.issues.map((issue) => {
    const key = issue.path.join('.') || 'study';
    if (issue.code === 'unrecognized_keys')
      return `${key === 'study' ? '' : `${key}.`}${issue.keys.join(', ')} is not a key of a study`;
    return `${key}: ${issue.message}`;
  });
  throw new StudyInvalidError(where, problems);
}

/** Types and validates a study where it is written. */
export function defineStudy(study: z.input<typeof Study>): Study {
  return parseStudy(study, `study "${study.name}"`);
}
