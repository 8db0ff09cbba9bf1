/** What travels through Temporal: ids, keys and small plans; never a metric, an image or a sample. */
import type { Hyperparameters, QuestionKind, Role, Strategy, Study } from '../studies/study.ts';

/** A model: a directory that is there, or the last checkpoint of a phase. `key` names its weights, `name` is for people. */
export type ModelRef =
  | { kind: 'directory'; directory: string; key: string; name: string }
  | { kind: 'phase'; phase: string; step: number; key: string; name: string };

/**
 * A needle-scene dataset: `count` scenes with `questions` questions each, of these kinds in turn; or, with a `directory` (relative to
 * the project), the first `count` rows that lie there.
 */
export type ScenesPlan = {
  key: string;
  split: 'train' | 'held-out' | 'hard';
  count: number;
  questions: number;
  kinds: QuestionKind[];
  seed: number;
  directory?: string;
};

/** One training phase: `role` learns from `start` while `frozen` plays the other role (Algorithm 1 of the paper); `direct` has no other. */
export type PhasePlan = {
  id: string;
  iteration: number;
  role: Role;
  key: string;
  start: ModelRef;
  frozen: ModelRef;
  scenes: ScenesPlan;
  hyperparameters: Hyperparameters;
  /** A checkpoint of an earlier key, with optimiser and curve, that training goes on from; null to begin at `start`. */
  inherit: { phase: string; step: number } | null;
  /** Left as it is: what follows uses `result` and nothing is trained. */
  skipped: boolean;
  /** The model that the next part builds on. */
  result: ModelRef;
};

/**
 * One evaluation on held-out scenes: `model` in both roles, or as the reasoner where another checkpoint is the `perceiver`. `after` is the
 * phase it follows, null for the base. `checkpoint` is what people call it.
 */
export type EvaluationPlan = {
  id: string;
  key: string;
  after: string | null;
  model: ModelRef;
  perceiver?: ModelRef;
  checkpoint: string;
  scenes: ScenesPlan;
  strategies: Strategy[];
};

/** Everything an experiment will compute, in order. */
export type ExperimentPlan = {
  experiment: string;
  study: Study;
  phases: PhasePlan[];
  evaluations: EvaluationPlan[];
};

/** The parts of an experiment by id: what comes before training, then each iteration's phases with what follows each. */
export type Outline = {
  study: string;
  before: string[];
  iterations: { phase: string; evaluations: string[] }[][];
};

/** Where a workflow stands, as its `state` query answers. */
export type RunState =
  | 'running'
  | 'waiting'
  | 'paused'
  | 'reused'
  | 'skipped'
  | 'completed'
  | 'failed'
  | 'cancelled';

/** Answer of the experiment's `state` query. */
export type ExperimentState = {
  experiment: string;
  state: RunState;
  current: string | null;
  done: { id: string; how: StepResult['how'] }[];
};

/** Answer of a phase's `state` query. */
export type PhaseState = {
  id: string;
  key: string | null;
  state: RunState;
  activity: string | null;
  /** Why a person is asked, while `state` is "waiting". */
  message: string | null;
};

/** Argument of the `retryPhase` update: other hyper-parameters, and a committed step of this phase to go on from. */
export type RetryDecision = { overrides?: Record<string, unknown>; fromCheckpoint?: number | null };

/** Argument of the `skipPhase` update: go on from the phase's start, or from its newest committed checkpoint. */
export type SkipDecision = { use: 'start' | 'checkpoint' };

/** What a finished phase or evaluation returns. */
export type StepResult = { id: string; key: string; how: 'computed' | 'reused' | 'skipped' };
