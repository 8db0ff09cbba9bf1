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
  split: 'train' | 'held-out';
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
};

/** One evaluation: a checkpoint in both roles on held-out scenes. `after` is the phase it follows, null for the base. */
export type EvaluationPlan = {
  id: string;
  key: string;
  after: string | null;
  model: ModelRef;
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

/** Where a workflow stands, as its `state` query answers. */
export type RunState = 'running' | 'reused' | 'completed' | 'failed' | 'cancelled';

/** Answer of the experiment's `state` query. */
export type ExperimentState = {
  experiment: string;
  state: RunState;
  current: string | null;
  done: { id: string; reused: boolean }[];
};

/** Answer of a phase's `state` query. */
export type PhaseState = { id: string; key: string; state: RunState; activity: string | null };

/** What a finished phase or evaluation returns. */
export type StepResult = { id: string; key: string; reused: boolean };
