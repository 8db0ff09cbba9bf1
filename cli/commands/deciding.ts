/** Decisions about an experiment: at the gate of a waiting phase, and about ended experiments (rerun, fork). */
import { ServiceError, WorkflowNotFoundError, WorkflowUpdateFailedError } from '@temporalio/client';
import { rootCause } from '@temporalio/common';
import { committedSteps } from '../../store/checkpoints.ts';
import {
  type CheckpointRef,
  type ExperimentRecord,
  readExperiment,
  writeExperiment,
} from '../../store/experiments.ts';
import type { Store } from '../../store/layout.ts';
import { type Change, fork, phaseOf, planOf, revise } from '../../studies/revisions.ts';
import { abortPhaseUpdate, retryPhaseUpdate, skipPhaseUpdate } from '../../workflows/decisions.ts';
import { pauseUpdate, resumeUpdate } from '../../workflows/experiment.ts';
import type { RetryDecision, SkipDecision } from '../../workflows/types.ts';
import { EXIT, UserError } from '../errors.ts';
import { begin, connectClient, isRunning } from './experiments.ts';

/** A decision at the gate. */
export type GateDecision =
  | ({ kind: 'retry' } & RetryDecision)
  | ({ kind: 'skip' } & SkipDecision)
  | { kind: 'abort' };

async function refusable<T>(action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    if (error instanceof WorkflowUpdateFailedError)
      throw new UserError(`Refused: ${rootCause(error.cause) ?? error.message}`);
    if (
      error instanceof WorkflowNotFoundError ||
      (error instanceof ServiceError && /not found/i.test(`${error.message} ${String(error.cause)}`))
    )
      throw new UserError('It is not running, so there is nothing to decide: look at "p2r status".');
    throw error;
  }
}

/** Tells the waiting phase what to do. Resolves when it has been taken; throws a UserError with the reason when it was refused. */
export async function decideAtGate(
  store: Store,
  experiment: string,
  phase: string,
  decision: GateDecision,
): Promise<void> {
  const client = await connectClient(store);
  try {
    const handle = client.workflow.getHandle(`${experiment}/${phase}`);
    await refusable(async () => {
      if (decision.kind === 'retry') {
        const { kind: _, ...args } = decision;
        await handle.executeUpdate(retryPhaseUpdate, { args: [args] });
      } else if (decision.kind === 'skip')
        await handle.executeUpdate(skipPhaseUpdate, { args: [{ use: decision.use }] });
      else await handle.executeUpdate(abortPhaseUpdate);
    });
  } finally {
    await client.connection.close();
  }
}

/** Pauses (the trainer commits first) or resumes an experiment. */
export async function setPaused(store: Store, experiment: string, paused: boolean): Promise<void> {
  const client = await connectClient(store);
  try {
    const handle = client.workflow.getHandle(experiment);
    await refusable(() => handle.executeUpdate(paused ? pauseUpdate : resumeUpdate));
  } finally {
    await client.connection.close();
  }
}

/** What `--set`, `--step` and `--again` ask of one phase; a step must be committed under the phase's present key. */
export async function changeOf(
  store: Store,
  record: ExperimentRecord,
  phase: string,
  asked: { overrides: Record<string, unknown>; step: number | null; again: boolean },
): Promise<Change> {
  const { key } = phaseOf(planOf(record), phase);
  let from: CheckpointRef | null = null;
  if (asked.step !== null) {
    const steps = await committedSteps(store, key);
    if (!steps.includes(asked.step))
      throw new UserError(
        `${phase} has no checkpoint of step ${asked.step}; it has: ${steps.map((step) => `step-${step}`).join(', ') || 'none'}.`,
      );
    from = { phase: key, step: asked.step };
  }
  return { overrides: asked.overrides, from, again: asked.again };
}

/** The record that a rerun would leave; nothing is written. */
export function rerunRecord(record: ExperimentRecord, phase: string, change: Change): ExperimentRecord {
  const time = new Date().toISOString();
  const trivial =
    !('skip' in change) &&
    Object.keys(change.overrides ?? {}).length === 0 &&
    change.from === null &&
    !change.again;
  return trivial ? record : revise(record, phase, change, { kind: 'rerun', request: `rerun ${time}`, time });
}

/** Writes the record and starts the workflow over it; refuses while the experiment is open. */
export async function rerun(store: Store, record: ExperimentRecord): Promise<void> {
  const client = await connectClient(store);
  try {
    if (await isRunning(client, record.experiment))
      throw new UserError(
        `${record.experiment} is running: decide at its gate with "p2r retry", or "p2r stop" it first.`,
        EXIT.failed,
      );
    await writeExperiment(store, record);
    await begin(store, client, record);
  } finally {
    await client.connection.close();
  }
}

/** The record of a fork; nothing is written. Throws a UserError when the name is taken. */
export async function forkRecord(
  store: Store,
  record: ExperimentRecord,
  name: string,
  at: string,
  change: Change,
): Promise<ExperimentRecord> {
  if ((await readExperiment(store, name)) !== null)
    throw new UserError(`There is an experiment "${name}" already: choose another name with --as.`);
  return fork(record, name, at, change, new Date().toISOString());
}
