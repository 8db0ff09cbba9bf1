/** What the dashboard's server answers and its page reads. Types only; snake_case as on disk. */
import type { Progress, StepProgress } from '../../store/progress.ts';
import type { PlannedStep } from '../../store/reuse.ts';

export type { PlannedStep };

/** The role that a phase trains. */
export type Role = 'perceiver' | 'reasoner' | 'direct';

/** State of an experiment since its last start. */
export type RunState = Progress['state'];

/** State of a phase or an evaluation; `stopped` was running when its experiment ended. */
export type PartState = StepProgress['state'] | 'stopped';

/** A line of the experiments list. */
export type ExperimentSummary = {
  experiment: string;
  study: string;
  seed: number;
  created_at: string;
  state: RunState;
  /** Why it failed, where it did. */
  message: string | null;
  /** Id of the phase or evaluation that runs now. */
  current: string | null;
  /** Training steps done, over all phases. */
  step: number;
  total_steps: number;
  /** Newest reward mean, in [0, 1] for the paper's reward. */
  reward_mean: number | null;
  /** Highest held-out accuracy so far, and the base's, both by perceive-to-reason (by direct answers in a text-only run). */
  best_accuracy: number | null;
  base_accuracy: number | null;
  /** Newest sign of life: an event or a training step. ISO 8601. */
  updated_at: string | null;
  iteration: number | null;
  /** The experiment that this one was forked from, or the oldest whose first phases it shares (`phases`: how many); else null. */
  builds_on: { experiment: string; phases: number } | null;
  /** A phase that waits for a person's decision. */
  waiting: { phase: string; message: string } | null;
};

/** An experiment on disk whose record cannot be read. */
export type UnreadableExperiment = { experiment: string; message: string };

/** GET /api/experiments */
export type ExperimentList = { experiments: ExperimentSummary[]; unreadable: UnreadableExperiment[] };

/** One attempt at a phase: the steps that it logged, null before its first. */
export type AttemptView = { attempt: number; first_step: number | null; last_step: number | null };

/** A training phase, laid on the global step axis: its step n is global step `from + n`. */
export type PhaseView = {
  id: string;
  key: string;
  name: Role;
  iteration: number;
  state: PartState;
  message: string | null;
  from: number;
  to: number;
  step: number;
  total_steps: number;
  attempts: AttemptView[];
  /** Global steps at which a later attempt took over. */
  restarts: number[];
  /** Mean seconds of the last steps, null before the first. */
  step_seconds: number | null;
  /** Newest row of metrics. */
  latest: Record<string, number | null> | null;
  /** Names of all metrics that its attempts logged. */
  metrics: string[];
};

/** Scores of one strategy; rates in [0, 1], box_size in pixels of the original image. */
export type ScoreView = {
  strategy: string;
  accuracy: number;
  interval: [number, number];
  correct: number;
  count: number;
  hit_rate: number | null;
  iou: number | null;
  box_count: number | null;
  box_size: number | null;
};

/** An evaluation at global step `at`: the end of the phase whose checkpoint it scores, 0 for the base model. */
export type EvaluationView = {
  id: string;
  key: string;
  checkpoint: string;
  after: string | null;
  /** Two checkpoints share the roles; such an evaluation is no point of a curve. */
  pair: boolean;
  at: number;
  state: PartState;
  message: string | null;
  strategies: ScoreView[];
};

/** A time in which a part ran or waited for a decision; `to` and `end` are null while it does. Times are ISO 8601. */
export type SpanView = {
  from: string;
  to: string | null;
  state: 'running' | 'waiting';
  end: 'completed' | 'failed' | 'interrupted' | null;
};

/** Something that happened at one moment. A `restart` is a trainer that went on from a checkpoint. */
export type MarkView = {
  time: string;
  kind:
    | 'failed'
    | 'waiting'
    | 'retried'
    | 'restart'
    | 'reused'
    | 'skipped'
    | 'host lost'
    | 'checkpoint damaged'
    | 'cancelled'
    | 'paused'
    | 'resumed'
    | 'stopped early';
  message: string | null;
};

/** An experiment over time, by part in the order of the plan; `marks` are about the whole of it. */
export type TimelineView = {
  parts: { id: string; spans: SpanView[]; marks: MarkView[] }[];
  marks: MarkView[];
};

/** GET /api/experiments/:id */
export type ExperimentDetail = ExperimentSummary & {
  phases: PhaseView[];
  evaluations: EvaluationView[];
  timeline: TimelineView;
  /** Seconds of training that remain at the present pace, null while there is none. Evaluations are not in it. */
  seconds_left: number | null;
  /** What could not be read, one sentence each. */
  problems: string[];
};

/** One phase's share of a curve: columns of equal length; null marks a step where the metric is undefined. */
export type Series = {
  phase: string;
  x: number[];
  y: (number | null)[];
  /** The exponential moving average at the same points, made from every step; null when none was asked for. */
  smooth: (number | null)[] | null;
  /** Points in the window before downsampling. */
  total: number;
};

/** GET /api/experiments/:id/curves: for every metric asked for, one series a phase. */
export type Curves = {
  experiment: string;
  from: number;
  to: number;
  metrics: Record<string, Series[]>;
};

/** A box [x1, y1, x2, y2] in pixels of the original image. */
export type BoxView = [number, number, number, number];

/** One question about one image. */
export type SampleView = {
  sample_id: string;
  dataset: string;
  width: number;
  height: number;
  question: string;
  options: string[];
  answer: string;
  kind: string;
  boxes: BoxView[];
  labels: string[];
};

/** One completion of a training step and how it was judged. */
export type RolloutView = {
  phase: string;
  role: Role;
  step: number;
  sample_id: string;
  rollout: number;
  kind: string | null;
  reward: number | null;
  advantage: number | null;
  correct: boolean | null;
  hit_rate: number | null;
  iou: number | null;
  box_count: number | null;
  box_size: number | null;
  /** Standard deviation of the rewards in its group; 0 where the group teaches nothing. */
  disagreement: number | null;
  completion: string;
  reasoner_text: string | null;
  extracted_answer: string | null;
  boxes: BoxView[];
  /** Regions that are cut out for the reasoner: the boxes with their margin. */
  crops: BoxView[];
  sample: SampleView | null;
};

/** GET /api/experiments/:id/rollouts */
export type RolloutPage = {
  total: number;
  offset: number;
  rollouts: RolloutView[];
  kinds: string[];
  /** First and last step that have rollouts, by phase id. */
  steps: Record<string, [number, number]>;
};

/** One answer of an evaluation. */
export type PredictionView = {
  evaluation: string;
  checkpoint: string;
  at: number;
  strategy: string;
  sample_id: string;
  kind: string;
  perceiver_text: string | null;
  text: string;
  extracted_answer: string | null;
  correct: boolean;
  boxes: BoxView[];
  crops: BoxView[];
  hit_rate: number | null;
  iou: number | null;
};

/** GET /api/experiments/:id/predictions?sample=: the same held-out sample over the checkpoints. */
export type SampleHistory = { sample: SampleView | null; predictions: PredictionView[] };

/** Where errors of P2R come from: was every true box hit, was the answer right. */
export type Attribution = {
  hit_right: number;
  hit_wrong: number;
  miss_right: number;
  miss_wrong: number;
};

/** One strategy of one evaluation. */
export type EvaluationRow = ScoreView & {
  evaluation: string;
  checkpoint: string;
  at: number;
  by_kind: Record<string, { accuracy: number; count: number; interval: [number, number] }>;
  attribution: Attribution | null;
  /** Answers a second of the whole evaluation, all its strategies together; null where it was reused or has not ended. */
  samples_per_second: number | null;
};

/** GET /api/experiments/:id/evaluation */
export type EvaluationPage = { rows: EvaluationRow[]; problems: string[] };

/**
 * GET /api/experiments/:id/answers?evaluation=: the strategies of one evaluation sample by sample, on the samples that all of them
 * answered.
 */
export type StrategyAnswers = {
  evaluation: string;
  strategies: string[];
  samples: number;
  /** `confusion[a][b]`: samples that strategy a answered right and b wrong; on the diagonal, all that a answered right. */
  confusion: number[][];
  /** Which strategies were right, in their order, and the samples for which it was so; most frequent first. */
  patterns: { right: boolean[]; samples: { sample_id: string; kind: string }[] }[];
  /** Where errors come from, with true boxes as the witness; null where nobody asked with them. */
  attribution: {
    robust: number;
    perception_limited: number;
    reasoning_limited: number;
    oracle_harmed: number;
    /** Null where nobody asked without boxes. */
    hint_harmed: number | null;
  } | null;
};

/** GET /api/experiments/:id/pairs?a=&b=: two columns of answers to the same samples. */
export type PairedView = {
  count: number;
  both_right: number;
  only_a: number;
  only_b: number;
  both_wrong: number;
  /** Accuracy of b minus that of a, with its 95 % bootstrap interval over samples. */
  difference: number;
  interval: [number, number];
  /** Exact two-sided McNemar test. */
  p_value: number;
  /** Samples that only one of the two answered right. */
  changed: { sample_id: string; kind: string; better: 'a' | 'b' }[];
};

/** A process of this home. */
export type ProcessView = {
  name: string;
  kind: 'service' | 'trainer' | 'model' | 'reward';
  owner: string | null;
  pid: number;
  alive: boolean;
};

/** A workflow and where Temporal's own page shows it. */
export type WorkflowView = {
  id: string;
  run_id: string;
  type: string;
  status: string;
  experiment: string | null;
  started_at: string;
  url: string | null;
};

/** A worker that asks Temporal for tasks. Slots are null where the server does not report them. */
export type WorkerView = {
  identity: string;
  last_seen: string | null;
  slots: { kind: string; used: number; available: number }[];
};

/** What Temporal says of itself; `message` says why it says nothing. */
export type TemporalView = {
  address: string | null;
  ui: string | null;
  message: string | null;
  workers: WorkerView[];
  workflows: WorkflowView[];
};

/** GET /api/system */
export type SystemPage = {
  home: string;
  disk: { free: number; total: number; folders: { name: string; bytes: number; files: number }[] };
  /** Who holds a slot of this machine (its number) or waits for one (null), in the order in which slots are given. */
  turns: { experiment: string; part: string; priority: number; slot: number | null; since: string }[];
  processes: ProcessView[];
  temporal: TemporalView;
};

/** GET /api/experiments/:id/gate */
export type GateView = {
  phase: string;
  message: string;
  /** Hyper-parameters that a retry may change, with their present values. */
  parameters: Record<string, number | string>;
  /** Values to retry with, where the failure was recognised. */
  advised: Record<string, number | string>;
  /** Committed checkpoints that a retry may start from, newest last. */
  checkpoints: number[];
  latest: Record<string, number | null> | null;
  /** False where this dashboard was started without a way to the workflows. */
  can_decide: boolean;
} | null;

/** POST /api/experiments/:id/gate/plan: what a retry would do, or why it would be refused. */
export type GatePlan = { steps: PlannedStep[]; refused: string | null };

/** Every answer that is not a success. `message` is one sentence for people; `code` is for programs. */
export type Problem = {
  error: {
    code:
      | 'bad-request'
      | 'forbidden'
      | 'unauthorized'
      | 'not-found'
      | 'refused'
      | 'busy'
      | 'unreadable'
      | 'internal';
    message: string;
  };
};

/**
 * Names of the events of GET /api/events. `hello` opens a new stream and `reset` one whose missed notices are gone: both mean "read
 * everything"; the others say what to read again.
 */
export type StreamEvent = 'hello' | 'reset' | 'experiment-changed' | 'curves-changed';
