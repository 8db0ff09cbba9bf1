/** What a study is: the schema of a study file, with the paper's names and Table 6's meaning. */
import { z } from 'zod';

/** Hyper-parameters of one training phase (names of Table 6 of the paper; units in docs/metrics.md). */
export const Hyperparameters = z.strictObject({
  train_batch_size: z.int().min(1).describe('prompts per step'),
  rollout_n: z.int().min(2).describe('rollouts G per prompt'),
  ppo_mini_batch_size: z.int().min(1).describe('prompts per optimiser step'),
  ppo_micro_batch_size: z
    .int()
    .min(1)
    .describe('per forward and backward pass: prompts with TRL, responses per GPU with veRL'),
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

/**
 * What a phase trains: one of P2R's two roles against the other, or `direct`, the baseline that answers from the image alone by thinking
 * in text ("text-only GRPO" of Figure 8).
 */
export const Role = z.enum(['perceiver', 'reasoner', 'direct']);
export type Role = z.infer<typeof Role>;

/** How a group's rewards become an update: GRPO (Equation 5), or DAPO (appendix E.4; without its KL term when `kl_loss_coef` is 0). */
export const Algorithm = z.discriminatedUnion('name', [
  z.strictObject({ name: z.literal('grpo') }),
  z.strictObject({
    name: z.literal('dapo'),
    clip_ratio_high: z.number().positive().max(1).describe('upper clip range; clip_ratio is the lower'),
    max_generation_batches: z
      .int()
      .min(1)
      .describe('batches sampled at most to fill one with informative groups'),
    overlong_buffer: z
      .int()
      .min(0)
      .describe('last tokens over which the length penalty grows; 0: no penalty'),
    overlong_penalty: z.number().min(0),
  }),
]);
export type Algorithm = z.infer<typeof Algorithm>;

/** How a frozen role or a checkpoint under evaluation is served. */
export const Serving = z.discriminatedUnion('kind', [
  z
    .strictObject({ kind: z.literal('transformers') })
    .describe('transformers serve, in the project environment'),
  z.strictObject({ kind: z.literal('embedded') }).describe('the batching server of engines/'),
  z
    .strictObject({
      kind: z.literal('vllm'),
      python: z.string().describe('interpreter that has vllm installed'),
      gpus: z
        .array(z.int().min(0))
        .default([])
        .describe('GPU numbers for one server each; empty: those it sees'),
      tensor_parallel: z.int().min(1).default(1).describe('GPUs one server spreads over'),
      gpu_memory_utilization: z.number().positive().max(1).default(0.8),
      sleep_seconds: z
        .number()
        .positive()
        .optional()
        .describe(
          'on GPUs that train as well: without a request for so long, the server gives its memory back',
        ),
      arguments: z.array(z.string()).default([]).describe('further vLLM arguments; they win over ours'),
    })
    .describe('vLLM, with the launch line of activities/vllm.ts'),
  z
    .strictObject({ kind: z.literal('endpoint'), url: z.url(), model: z.string() })
    .describe('a server that is already there'),
]);
export type Serving = z.infer<typeof Serving>;

/** What trains: TRL on one GPU or the CPU, or veRL on a Ray cluster. `threads` are the CPU threads of a trainer or an embedded server. */
export const Engine = z.discriminatedUnion('name', [
  z.strictObject({
    name: z.literal('trl'),
    device: z.enum(['cpu', 'cuda']),
    dtype: z.enum(['float32', 'bfloat16']),
    threads: z.int().min(1).max(256),
  }),
  z.strictObject({
    name: z.literal('verl'),
    version: z.enum(['0.9', '0.8']).describe("0.8 for the authors' own code, which grew out of it"),
    ray: z.url().describe('address of the Ray head (its dashboard, http://head:8265)'),
    python: z.string().describe('interpreter with veRL on the nodes'),
    poll_seconds: z.number().positive().default(10).describe('seconds between looks at the cluster'),
    nodes: z.int().min(1),
    gpus_per_node: z.int().min(1),
    tensor_parallel: z.int().min(1).describe('GPUs of one rollout server'),
    gpu_memory_utilization: z.number().positive().max(1).describe('share of a GPU for rollouts'),
    param_offload: z.boolean().describe('weights in main memory while they are not used'),
    optimizer_offload: z.boolean(),
    threads: z.int().min(1).max(256),
  }),
]);
export type Engine = z.infer<typeof Engine>;

/** Training questions: needle scenes drawn for the phase, or a directory in the project's own format (rows.jsonl beside images). */
export const TrainingData = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('needle') }),
  z.strictObject({
    kind: z.literal('rows'),
    directory: z.string().describe('relative to the project'),
    name: z.string().describe('names the rows for good, e.g. "p2r-10k@seed1": other rows need another name'),
  }),
]);
export type TrainingData = z.infer<typeof TrainingData>;

/**
 * How questions are answered in an evaluation: from the image alone (`direct`, `cot`), with boxes of the model itself (`p2r`, also called
 * `self` beside `oracle`, `random` and `none`: Figure 12), boxes only (`grounding`, Table 4), or by another paper's protocol.
 */
export const Strategy = z.enum([
  'direct',
  'cot',
  'p2r',
  'self',
  'oracle',
  'random',
  'none',
  'grounding',
  'qwen3-vl-zoom',
  'zoom-eye',
  'dyfo-vlm',
  'deepeyes',
  'mini-o3',
  'pixel-reasoner',
]);
export type Strategy = z.infer<typeof Strategy>;

const CheckpointText = z
  .string()
  .regex(
    /^(?:base|iteration-[1-9]\d*\/(?:perceiver|reasoner|direct)(?:@[1-9]\d*)?)$/,
    'write "base", "iteration-1/perceiver", or "iteration-1/perceiver@12" for its step 12',
  );

/**
 * A checkpoint that a study names: `base`, or what a phase leaves (`iteration-1/perceiver`; its step 12: `iteration-1/perceiver@12`).
 * With a `schedule` the phase is that of the same study under another schedule (Algorithm 1), which another of its cases trains first.
 */
export const CheckpointName = z.union([
  CheckpointText,
  z.strictObject({ schedule: z.array(Role).min(1), checkpoint: CheckpointText }),
]);
export type CheckpointName = z.infer<typeof CheckpointName>;

/** Kinds of needle questions: one object's letter, whether two letters are the same, where one object lies from another, how many show one. */
export const QuestionKind = z.enum(['letter', 'same', 'spatial', 'count']);
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
  role: Role,
  metric: AcceptanceMetric,
  window: z.int().min(1).default(5),
  at_least: z.number().optional(),
  at_most: z.number().optional(),
  at_least_times_start: z.number().positive().optional(),
});
export type AcceptanceRule = z.infer<typeof AcceptanceRule>;

/** What happens before a person is asked: `role`'s phase is tried again up to `times` times with these hyper-parameters. */
export const AutomaticRetry = z.strictObject({
  role: Role,
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
  iterations: z.int().min(0).max(100).describe('0: the base is evaluated, nothing is trained'),
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
  engine: Engine,
  placement: z
    .enum(['this-worker', 'fleet'])
    .default('this-worker')
    .describe('fleet: a phase runs on one of several hosts with GPUs (docs/cluster.md)'),
  rewards: z
    .strictObject({ processes: z.int().min(1).max(64).describe('reward services that share the judging') })
    .default({ processes: 1 }),
  training_data: TrainingData.default({ kind: 'needle' }),
  algorithm: Algorithm.default({ name: 'grpo' }),
  schedule: z
    .array(Role)
    .min(1)
    .refine((roles) => new Set(roles).size === roles.length, 'a role may train once an iteration')
    .default(['perceiver', 'reasoner'])
    .describe('roles trained in each iteration, in this order (Figure 5)'),
  frozen: z
    .strictObject({ perceiver: CheckpointName.optional(), reasoner: CheckpointName.optional() })
    .optional()
    .describe(
      'model of the other role while this one trains, in every iteration; the checkpoint before the phase when absent (Algorithm 1)',
    ),
  questions: z
    .strictObject({
      perceiver: z.array(QuestionKind).min(1),
      reasoner: z.array(QuestionKind).min(1).describe('of the direct baseline, too'),
    })
    .describe('kinds that each role trains on; evaluation asks all'),
  perceiver: Hyperparameters,
  reasoner: Hyperparameters,
  direct: Hyperparameters.optional().describe('of the direct baseline, when the schedule names it'),
  evaluation: z.strictObject({
    scenes: z.int().min(1).describe('held-out scenes'),
    benchmarks: z
      .array(
        z.strictObject({
          name: z.string().describe('names the questions for good: other questions need another name'),
          source: z
            .string()
            .regex(/^[a-z0-9-]+:.+$/, 'write FORMAT:PATH ("p2r datasets formats" lists the formats)')
            .describe('published file or folder, its path relative to the project'),
        }),
      )
      .min(1)
      .optional()
      .describe('asked instead of the held-out scenes'),
    questions_per_scene: z.int().min(1).max(4),
    perceiver_max_tokens: z.int().min(1),
    reasoner_max_tokens: z.int().min(1),
    concurrency: z.int().min(1).max(256),
    image_rules: z
      .enum(['paper', 'paper-evaluation', 'tiny'])
      .optional()
      .describe("of the evaluated images; the study's own when absent"),
    strategies: z
      .array(Strategy)
      .min(1)
      .optional()
      .describe(
        'asked of every checkpoint; when absent, direct and p2r of the base and p2r of what was trained',
      ),
    checkpoints: z
      .enum(['last', 'all'])
      .default('last')
      .describe("of each phase: its last one, or every one it saved (the paper's dynamics)"),
    pairs: z
      .array(z.strictObject({ perceiver: CheckpointName, reasoner: CheckpointName }))
      .optional()
      .describe('P2R with the roles played by two checkpoints, asked after the last phase (Table 3)'),
  }),
  reproduces: z
    .strictObject({
      item: z.string().describe('table or figure of the paper'),
      claim: z.string().describe('what the paper says, in one sentence, with its figures'),
      benchmarks: z
        .array(z.string())
        .describe("the paper's benchmarks; a tiny twin asks about needle scenes"),
      twin: z.string().optional().describe('study that shows the same on two CPU cores'),
    })
    .optional(),
});
export type Study = z.infer<typeof Study>;

/** Values by dotted key of a study: `{ 'perceiver.lr': 2e-6 }`. */
export const StudySettings = z.record(z.string(), z.json());
export type StudySettings = z.infer<typeof StudySettings>;

/** What a study file may say besides: experiments that differ by named overrides, and lists of values, each combined with each. */
export const Variations = z.strictObject({
  cases: z
    .record(
      z.string().regex(/^[a-z0-9][a-z0-9-]{0,30}$/, 'call a case by lower-case letters, digits and "-"'),
      StudySettings,
    )
    .optional(),
  sweep: z.record(z.string(), z.array(z.json()).min(1)).optional(),
});
export type Variations = z.infer<typeof Variations>;

/** A study with the experiments it stands for. */
export type StudyFile = Study & Variations;

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
    const trained = new Set([...parsed.data.schedule, 'perceiver' as const, 'reasoner' as const]);
    const problems = [...trained].flatMap((role) => {
      const values = parsed.data[role];
      return values === undefined
        ? [`${role} is missing: schedule names this role, so it needs the same keys as perceiver`]
        : batchProblems(values).map((problem) => `${role}.${problem}`);
    });
    problems.push(...clusterProblems(parsed.data));
    if (problems.length > 0) throw new StudyInvalidError(where, problems);
    return parsed.data;
  }
  throw new StudyInvalidError(where, problemsOf(parsed.error));
}

/** What veRL or vLLM would refuse after minutes of loading. */
function clusterProblems({ engine, serving, algorithm, schedule, rewards, ...study }: Study): string[] {
  const problems: string[] = [];
  if (engine.name === 'verl') {
    const gpus = engine.nodes * engine.gpus_per_node;
    for (const role of schedule) {
      const completions = (study[role]?.train_batch_size ?? 0) * (study[role]?.rollout_n ?? 0);
      if (completions % gpus !== 0)
        problems.push(
          `${role}.train_batch_size times rollout_n (${completions}) must be a multiple of the ${gpus} GPUs`,
        );
    }
    if (engine.gpus_per_node % engine.tensor_parallel !== 0)
      problems.push(`engine.tensor_parallel must divide engine.gpus_per_node (${engine.gpus_per_node})`);
    if (engine.version === '0.8' && algorithm.name === 'dapo')
      problems.push('algorithm.name "dapo" needs engine.version "0.9"; allowed with "0.8": "grpo"');
  }
  if (serving.kind === 'vllm') {
    if (new Set(serving.gpus).size !== serving.gpus.length) problems.push('serving.gpus names a GPU twice');
    if (serving.sleep_seconds !== undefined && rewards.processes > 1)
      problems.push(
        'serving.sleep_seconds needs rewards.processes 1: one process must know when nobody asks',
      );
    if (serving.gpus.length % serving.tensor_parallel !== 0)
      problems.push(
        `serving.gpus must be a multiple of serving.tensor_parallel (${serving.tensor_parallel}) in number`,
      );
  }
  return problems;
}

/** One sentence for each wrong key, with what is allowed there. */
function problemsOf(error: z.ZodError): string[] {
  return error.issues.map((issue) => {
    const key = issue.path.join('.') || 'study';
    if (issue.code === 'unrecognized_keys') {
      const allowed = keysAt(issue.path);
      return `${key === 'study' ? '' : `${key}.`}${issue.keys.join(', ')} is not a key of a study${
        allowed.length === 0 ? '' : ` (allowed here: ${allowed.join(', ')})`
      }`;
    }
    const message = issue.code === 'invalid_key' ? issue.issues[0]?.message : issue.message;
    return `${key}: ${message}`;
  });
}

/** Keys a study has at a path; [] where it may be one of several shapes. */
function keysAt(path: PropertyKey[]): string[] {
  let schema: unknown = Study;
  for (const part of path) {
    schema = unwrapped(schema);
    if (!(schema instanceof z.ZodObject)) return [];
    schema = schema.shape[String(part)];
  }
  schema = unwrapped(schema);
  return schema instanceof z.ZodObject ? Object.keys(schema.shape) : [];
}

/** What a key holds when it is given. */
function unwrapped(schema: unknown): unknown {
  return schema instanceof z.ZodOptional || schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault
    ? unwrapped(schema.unwrap())
    : schema;
}

/** Validates what a study file exports; throws {@link StudyInvalidError} with every wrong key. */
export function parseStudyFile(value: Record<string, unknown>, where: string): StudyFile {
  const { cases, sweep, ...study } = value;
  const variations = Variations.safeParse({ cases, sweep });
  if (!variations.success) throw new StudyInvalidError(where, problemsOf(variations.error));
  return { ...parseStudy(study, where), ...variations.data };
}

/** Types and validates a study where it is written. */
export function defineStudy(study: z.input<typeof Study> & Variations): StudyFile {
  return parseStudyFile(study, `study "${study.name}"`);
}
