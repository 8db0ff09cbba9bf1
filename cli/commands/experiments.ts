/** Starting, watching and stopping experiments. */
import { existsSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, Connection, WorkflowNotFoundError } from '@temporalio/client';
import logUpdate from 'log-update';
import { PROJECT } from '../../activities/environment.ts';
import {
  type ExperimentRecord,
  readEvents,
  readExperiment,
  writeExperiment,
} from '../../store/experiments.ts';
import { canonicalJson } from '../../store/keys.ts';
import type { Store } from '../../store/layout.ts';
import { inspectModel } from '../../store/models.ts';
import { type Progress, readProgress } from '../../store/progress.ts';
import { planExperiment } from '../../studies/plan.ts';
import { recordOf } from '../../studies/revisions.ts';
import { parseStudy, type Study } from '../../studies/study.ts';
import { TASK_QUEUE, temporalTarget } from '../../temporal.config.ts';
import { stepAttributes } from '../../workflows/search-attributes.ts';
import { EXIT, UserError } from '../errors.ts';
import { progressLines, stepLine } from '../render.ts';
import { runningServices } from '../services/control.ts';

const MIN_FREE_BYTES = 2 * 1024 ** 3;

/** A client of the Temporal that this home's services use. Throws a UserError when nothing runs. */
export async function connectClient(store: Store): Promise<Client> {
  const services = await runningServices(store);
  if (services === null && !process.env.TEMPORAL_ADDRESS && !process.env.TEMPORAL_PROFILE)
    throw new UserError('The services are not running: start them with "p2r up".', EXIT.unavailable);
  const target = temporalTarget(services?.temporal.address ?? null);
  const connection = await Connection.connect(target.connection).catch((error: Error) => {
    throw new UserError(
      `Temporal could not be reached (${error.message}): look at "p2r doctor".`,
      EXIT.unavailable,
    );
  });
  return new Client({ connection, namespace: target.namespace });
}

/** Resolves a study into a record after checking the model and the disk. */
export async function resolveStudy(
  store: Store,
  study: Study,
  name: string | undefined,
): Promise<ExperimentRecord> {
  const directory = path.resolve(PROJECT, study.model);
  const baseKey = await inspectModel(directory);
  for (const { what, file } of filesOf(study))
    if (!existsSync(path.resolve(PROJECT, file)))
      throw new UserError(
        `${what} should lie in ${file}, where nothing is: docs/cluster.md says how to get it.`,
      );
  const disk = await statfs(path.dirname(store.home)).catch(() => null);
  if (disk !== null && disk.bavail * disk.bsize < MIN_FREE_BYTES)
    throw new UserError(
      `Less than 2 GB are free where ${store.home} lies: free some, or set P2R_HOME to another disk.`,
    );
  return recordOf(planExperiment(study, name ?? `${study.name}-seed${study.seed}`, baseKey), {
    created_at: new Date().toISOString(),
    base_key: baseKey,
    decisions: {},
    revisions: [],
    lineage: null,
  });
}

/** What a study reads besides its model, by paths relative to the project. */
function filesOf({ training_data, iterations, evaluation }: Study): { what: string; file: string }[] {
  const training = training_data.kind === 'rows' && iterations > 0 ? [training_data] : [];
  return [
    ...training.map(({ name, directory }) => ({
      what: `The training data "${name}"`,
      file: `${directory}/rows.jsonl`,
    })),
    ...(evaluation.benchmarks ?? []).map(({ name, source }) => ({
      what: `The benchmark "${name}"`,
      file: source.slice(source.indexOf(':') + 1),
    })),
  ];
}

/** Starts the experiment, or joins it when it is running already. Finished parts with the same key are reused. */
export async function startExperiment(store: Store, wanted: ExperimentRecord): Promise<ExperimentRecord> {
  const existing = await readExperiment(store, wanted.experiment);
  if (existing !== null) requireSame(existing, wanted);
  const record = existing ?? wanted;
  const client = await connectClient(store);
  try {
    if (existing !== null && (await isRunning(client, record.experiment))) return record;
    await writeExperiment(store, record);
    await begin(store, client, record);
    return record;
  } finally {
    await client.connection.close();
  }
}

function requireSame(existing: ExperimentRecord, wanted: ExperimentRecord): void {
  const settings = (record: ExperimentRecord) =>
    canonicalJson(JSON.parse(JSON.stringify(parseStudy(record.config, record.experiment))));
  if (settings(existing) !== settings(wanted))
    throw new UserError(
      `Experiment "${wanted.experiment}" exists with other settings: give this one another name with --as NAME.`,
    );
  if (existing.base_key !== wanted.base_key)
    throw new UserError(
      `The base model has changed since "${wanted.experiment}" was started: give this one another name with --as NAME.`,
    );
}

/** Whether the experiment's workflow is open. */
export async function isRunning(client: Client, experiment: string): Promise<boolean> {
  const description = await client.workflow
    .getHandle(experiment)
    .describe()
    .catch((error: unknown) => {
      if (error instanceof WorkflowNotFoundError) return null;
      throw error;
    });
  return description?.status.name === 'RUNNING';
}

/** Starts the workflow of a written record and waits until it has begun. */
export async function begin(store: Store, client: Client, record: ExperimentRecord): Promise<void> {
  const before = (await readEvents(store, record.experiment)).length;
  await client.workflow.start('experiment', {
    workflowId: record.experiment,
    taskQueue: TASK_QUEUE,
    args: [{ experiment: record.experiment }],
    workflowIdConflictPolicy: 'USE_EXISTING',
    typedSearchAttributes: stepAttributes(record.experiment, null, null),
    staticSummary: parseStudy(record.config, record.experiment).title,
  });
  while ((await readEvents(store, record.experiment)).length === before) {
    await requireServices(store, `${record.experiment} was starting`, 'run the same command again');
    await sleep(100);
  }
}

/** Throws a UserError when this home's own services are gone; those that run elsewhere are not looked at. */
async function requireServices(store: Store, during: string, remedy: string): Promise<void> {
  if (process.env.TEMPORAL_ADDRESS || process.env.TEMPORAL_PROFILE) return;
  if ((await runningServices(store)) === null)
    throw new UserError(`The services were stopped while ${during}; ${remedy}`, EXIT.unavailable);
}

/** Follows a run until it ends, pauses or waits for a decision; calls `show` after each look. Rejects when `signal` aborts, or with a UserError when the services stop. */
export async function follow(
  store: Store,
  started: ExperimentRecord,
  show: (progress: Progress) => void,
  signal: AbortSignal,
): Promise<Progress> {
  for (;;) {
    // A decision changes the record while the experiment runs.
    const record = (await readExperiment(store, started.experiment)) ?? started;
    const progress = await readProgress(store, record);
    show(progress);
    if (!['running', 'pending', 'queued'].includes(progress.state)) return progress;
    await requireServices(
      store,
      `${record.experiment} was running`,
      `go on with: npx p2r up && npx p2r watch ${record.experiment}`,
    );
    await sleep(1000, undefined, { signal });
  }
}

/** A display for {@link follow}: redrawn in place on a terminal, a line per change otherwise. */
export function progressDisplay(stream: NodeJS.WriteStream): (progress: Progress) => void {
  if (stream.isTTY) return (progress) => logUpdate(progressLines(progress).join('\n'));
  const said = new Map<string, string>();
  let told = 0;
  return (progress) => {
    for (const sentence of progress.damage.slice(told)) stream.write(`! ${sentence}\n`);
    told = progress.damage.length;
    for (const step of progress.steps) {
      if (step.state === 'pending' && step.message === null) continue;
      const line = stepLine(step);
      if (said.get(step.id) !== line) stream.write(`${line}\n`);
      said.set(step.id, line);
    }
  };
}

/** Asks Temporal to cancel; the trainer commits a checkpoint first. */
export async function stopExperiment(store: Store, experiment: string): Promise<void> {
  const client = await connectClient(store);
  try {
    await client.workflow.getHandle(experiment).cancel();
  } catch (error) {
    if (error instanceof WorkflowNotFoundError)
      throw new UserError(`Experiment "${experiment}" is not running.`, EXIT.failed);
    throw error;
  } finally {
    await client.connection.close();
  }
}

/** The record of an experiment; throws a UserError that names the ones there are. */
export async function requireExperiment(
  store: Store,
  experiment: string,
  known: string[],
): Promise<ExperimentRecord> {
  const record = await readExperiment(store, experiment);
  if (record === null)
    throw new UserError(
      `There is no experiment "${experiment}"${known.length > 0 ? `; there are: ${known.join(', ')}` : ''}.`,
    );
  return record;
}
