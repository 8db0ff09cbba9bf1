/** How a recorded experiment changes: decisions about single phases, and forks. Pure: record in, record out. */
import type { CheckpointRef, ExperimentRecord, PhaseDecision, Revision } from '../store/experiments.ts';
import type { ExperimentPlan, ModelRef, PhasePlan } from '../workflows/types.ts';
import { parseOverrides } from './overrides.ts';
import { planExperiment } from './plan.ts';
import { parseStudy, type Study } from './study.ts';

/** No phase of that id; the message names those there are. */
export class PhaseUnknownError extends Error {
  constructor(experiment: string, phase: string, known: string[]) {
    super(`${experiment} has no phase "${phase}"; it has: ${known.join(', ')}.`);
    this.name = 'PhaseUnknownError';
  }
}

/** What a user wants changed about a phase. */
export type Change =
  | { overrides?: Record<string, unknown>; from?: CheckpointRef | null; again?: boolean }
  | { skip: 'start' | CheckpointRef };

/** The plan that a record stands for. */
export function planOf(record: ExperimentRecord): ExperimentPlan {
  const study = parseStudy(record.config, `${record.experiment}'s experiment.json`);
  return planExperiment(study, record.experiment, record.base_key, record.decisions);
}

/** The phase of a plan; throws {@link PhaseUnknownError}. */
export function phaseOf(plan: ExperimentPlan, id: string): PhasePlan {
  const phase = plan.phases.find((candidate) => candidate.id === id);
  if (phase === undefined)
    throw new PhaseUnknownError(
      plan.experiment,
      id,
      plan.phases.map((candidate) => candidate.id),
    );
  return phase;
}

/** A plan as experiment.json holds it, with its earlier story. */
export function recordOf(
  plan: ExperimentPlan,
  story: Pick<ExperimentRecord, 'created_at' | 'base_key' | 'decisions' | 'revisions' | 'lineage'>,
): ExperimentRecord {
  return {
    experiment: plan.experiment,
    study: plan.study.name,
    seed: plan.study.seed,
    phases: plan.phases.map((phase) => ({
      iteration: phase.iteration,
      name: phase.role,
      id: phase.id,
      key: phase.key,
      total_steps: phase.hyperparameters.total_steps,
      skipped: phase.skipped,
      uses: checkpointsOf([phase.start, phase.frozen]),
    })),
    evaluations: plan.evaluations.map((evaluation) => ({
      id: evaluation.id,
      key: evaluation.key,
      checkpoint: evaluation.checkpoint,
      after: evaluation.after,
      pair: evaluation.id.includes('-for-'),
      uses: checkpointsOf([evaluation.model, evaluation.perceiver]),
    })),
    config: { ...plan.study },
    created_at: story.created_at,
    base_key: story.base_key,
    decisions: story.decisions,
    revisions: story.revisions,
    lineage: story.lineage,
  };
}

function checkpointsOf(models: (ModelRef | undefined)[]): CheckpointRef[] {
  return models.flatMap((model) =>
    model?.kind === 'phase' ? [{ phase: model.phase, step: model.step }] : [],
  );
}

const UNDECIDED: PhaseDecision = { overrides: {}, from: null, skip: null, repeat: 0 };

function changed(before: PhaseDecision, change: Change): PhaseDecision {
  if ('skip' in change) return { ...before, skip: change.skip };
  const overrides = { ...before.overrides, ...parseOverrides(change.overrides ?? {}) };
  const same = JSON.stringify(overrides) === JSON.stringify(before.overrides);
  return {
    overrides,
    // Where a new key begins is said anew: an unchanged phase goes on from where it is, a changed one from its start.
    from: change.from ?? (same ? before.from : null),
    skip: null,
    repeat: before.repeat + (change.again ? 1 : 0),
  };
}

/** The record with other settings of its study; what was decided about its phases stays. Throws OverridesInvalidError where it no longer fits. */
export function withStudy(record: ExperimentRecord, study: Study): ExperimentRecord {
  return recordOf(planExperiment(study, record.experiment, record.base_key, record.decisions), record);
}

/** Who asked for a change, when, and under which id. */
export type Request = { kind: Revision['kind']; request: string; time: string };

/**
 * The record after a decision about one phase; keys of what follows change with it. A request that was carried out before changes
 * nothing. Throws PhaseUnknownError or OverridesInvalidError, and then nothing has changed either.
 */
export function revise(
  record: ExperimentRecord,
  id: string,
  change: Change,
  request: Request,
): ExperimentRecord {
  if (record.revisions.some((revision) => revision.request === request.request)) return record;
  const phase = phaseOf(planOf(record), id);
  const decision = changed(record.decisions[id] ?? UNDECIDED, change);
  const next = {
    ...record,
    decisions: { ...record.decisions, [id]: decision },
    revisions: [...record.revisions, { ...request, phase: id, key: phase.key, decision }],
  };
  return recordOf(planOf(next), next);
}

/** A new experiment that shares everything before (and, without changes, including) phase `at`. */
export function fork(
  record: ExperimentRecord,
  name: string,
  at: string,
  change: Change,
  time: string,
): ExperimentRecord {
  phaseOf(planOf(record), at);
  const child = {
    ...record,
    experiment: name,
    created_at: time,
    revisions: [],
    lineage: { parent: record.experiment, at },
  };
  return revise(child, at, change, { kind: 'fork', request: `fork of ${record.experiment}`, time });
}
