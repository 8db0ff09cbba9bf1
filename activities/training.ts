/** Create or attach: at most one trainer per phase, found again after any crash, finished when its last checkpoint is committed. */
import { mkdir, readdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { ApplicationFailure } from '@temporalio/common';
import { z } from 'zod';
import { checkpointFault, committedSteps } from '../store/checkpoints.ts';
import { appendEvent } from '../store/experiments.ts';
import { JsonLinesWriter, readJson, writeJson } from '../store/files.ts';
import type { Store } from '../store/layout.ts';
import { LeaseTakenError, leaseFile, takeLease } from '../store/lease.ts';
import { setAside } from '../store/manifest.ts';
import { listAttempts, repairCurve } from '../store/metrics.ts';
import type { Engine, Study } from '../studies/study.ts';
import type { PhasePlan } from '../workflows/types.ts';
import { trainingSetFault } from './datasets.ts';
import { modelDirectory, PROJECT, PYTHON, PYTHON_ENV } from './environment.ts';
import { diagnoseLog } from './failures.ts';
import { beating, pause, shouldDetach, untilCancelled } from './heartbeats.ts';
import { requireWhole } from './integrity.ts';
import { datasetFiles, serviceFiles } from './phase-files.ts';
import { attach, isAlive, launch, logTail, stop } from './processes.ts';

/** `experiment` is told what was found damaged; absent where a workflow of an earlier version asks. */
export type TrainInput = { experiment?: string; study: Study; phase: PhasePlan };

const EngineFailure = z.object({ type: z.string(), message: z.string(), detail: z.string() });

/** Attempts in a row that failed before their first step, after which the phase fails. */
const MAX_STUCK_ATTEMPTS = 3;

/** The same for attempts that were killed without a word (by the system, out of memory, or by somebody). */
const MAX_SILENT_DEATHS = 6;

/** Time a trainer has to finish its step and commit after a cancel. */
const COMMIT_GRACE_MS = 10 * 60_000;

/** Time between two looks at the newest checkpoint, which heartbeats point at. */
const POINTER_MS = 5000;

/** Failures that an engine names itself and that another attempt cannot cure. */
const HOPELESS = new Set([
  'ConfigInvalid',
  'ModelUnloadable',
  'DatasetInvalid',
  'RewardRefused',
  'CudaOutOfMemory',
  'DiskFull',
]);

/** Activity factory; engines are modules of the interpreter `python`. */
export function createTrainingActivities(store: Store, python = PYTHON) {
  return {
    /** Whether the phase's last step is committed and its files are whole. A damaged one is set aside and told to the `user`. */
    async phaseIsComplete({
      key,
      totalSteps,
      user,
    }: {
      key: string;
      totalSteps: number;
      user?: { experiment: string; part: string };
    }): Promise<boolean> {
      if (!(await committedSteps(store, key)).includes(totalSteps)) return false;
      return (await newestWhole(store, key, user)) >= totalSteps;
    },

    /** Trains until the last step is committed. A killed trainer is started again and resumes from its newest checkpoint. */
    async trainRole(input: TrainInput): Promise<void> {
      const { phase } = input;
      const total = phase.hyperparameters.total_steps;
      let step = 0;
      let attempt = 0;
      using _beat = beating(() => ({ phase: phase.key, attempt, checkpoint: step }));
      const train = async (signal: AbortSignal): Promise<void> => {
        while (!signal.aborted) {
          const ensured = await ensureAttempt(store, python, input);
          if (ensured === null) {
            await pause(300, signal);
            continue;
          }
          attempt = ensured;
          const record = processRecord(store, phase.key, attempt);
          const running = await attach(record);
          for (let looked = 0; running !== null && !signal.aborted && (await isAlive(running)); ) {
            if (Date.now() - looked >= POINTER_MS) {
              looked = Date.now();
              step = (await committedSteps(store, phase.key)).at(-1) ?? 0;
            }
            await pause(300, signal);
          }
          step = (await committedSteps(store, phase.key)).at(-1) ?? 0;
          if (signal.aborted) return;
          if (step >= total) {
            await mend(store, input, attempt);
            return;
          }
          await throwIfStuck(store, phase, attempt);
        }
      };
      try {
        await untilCancelled(train);
      } catch (error) {
        if (attempt > 0 && !(await shouldDetach()))
          await stop(processRecord(store, phase.key, attempt), COMMIT_GRACE_MS);
        throw error;
      }
    },
  };
}

/** The newest step whose files are whole, 0 without one. Damaged ones above it are set aside and told to the user. */
async function newestWhole(
  store: Store,
  key: string,
  user: { experiment: string; part: string } | undefined,
): Promise<number> {
  for (const step of (await committedSteps(store, key)).reverse()) {
    const directory = store.checkpoint(key, step);
    const message = await checkpointFault(directory);
    if (message === null) return step;
    const aside = await setAside(directory).catch(() => null);
    if (user !== undefined)
      await appendEvent(store, user.experiment, {
        type: 'checkpoint-damaged',
        phase: user.part,
        key,
        detail: { message, step, aside },
      });
  }
  return 0;
}

function processRecord(store: Store, phaseKey: string, attempt: number): string {
  return path.join(store.attempt(phaseKey, attempt), 'process.json');
}

/** Time within which an attempt that was claimed has its process; after that, whoever claimed it is gone. */
const LAUNCH_MS = 5000;

/** Claims an attempt by making its directory; false when somebody else was faster. */
async function claimAttempt(directory: string): Promise<boolean> {
  await mkdir(path.dirname(directory), { recursive: true });
  return mkdir(directory).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'EEXIST') return false;
      throw error;
    },
  );
}

/** Whether somebody else has claimed the attempt and is about to start its process. */
async function isBeingLaunched(directory: string): Promise<boolean> {
  const names: string[] = await readdir(directory).catch(() => []);
  if (names.includes('process.json') || names.includes('metrics.jsonl')) return false;
  const info = await stat(directory).catch(() => null);
  return info !== null && Date.now() - info.mtimeMs < LAUNCH_MS;
}

/** The number of the attempt whose trainer runs now; a new one is started when none does. Null when another is just starting one. */
async function ensureAttempt(store: Store, python: string, input: TrainInput): Promise<number | null> {
  const { study, phase } = input;
  const attempts = await listAttempts(store, phase.key);
  const last = attempts.at(-1) ?? 0;
  if (last > 0 && (await attach(processRecord(store, phase.key, last))) !== null) return last;
  if (last > 0 && (await isBeingLaunched(store.attempt(phase.key, last)))) return null;
  const fault = await trainingSetFault(store, phase.key);
  if (fault != null)
    throw ApplicationFailure.nonRetryable(
      `${phase.id}: its training set is damaged (${fault}).`,
      'InputDamaged',
    );
  await requireWhole(phase.start, modelDirectory(store, phase.start));
  await mend(store, input, last);
  const attempt = last + 1;
  const directory = store.attempt(phase.key, attempt);
  if (!(await claimAttempt(directory))) return null;
  const lease = await takeLease(store, phase.key, `attempt ${attempt}`).catch((error: unknown) => {
    if (error instanceof LeaseTakenError) return null;
    throw error;
  });
  if (lease === null) return null;
  const job = path.join(directory, 'job.json');
  await writeJson(job, {
    job_id: `${phase.key}/${attempt}`,
    role: phase.role,
    algorithm: study.algorithm,
    model: modelDirectory(store, phase.start),
    dataset: datasetFiles(store, phase.key).training,
    phase_dir: store.phase(phase.key),
    attempt,
    seed: study.seed,
    ...enginePart(study.engine),
    threads: study.engine.threads,
    reward: { endpoint_file: serviceFiles(store.phase(phase.key)).rewardEndpoint, deadline_seconds: 1800 },
    lease: { file: leaseFile(store, phase.key), token: lease.token },
    hyperparameters: phase.hyperparameters,
  });
  await launch(processRecord(store, phase.key, attempt), {
    command: [python, '-m', `p2r_engines.${study.engine.name}`, job],
    env: { ...PYTHON_ENV, OMP_NUM_THREADS: String(study.engine.threads) },
    cwd: PROJECT,
    log: path.join(directory, 'log.txt'),
  });
  return attempt;
}

/** Sets damaged checkpoints aside and restores damaged lines of the curve from the newest whole one; both are told. Only while no trainer runs. */
async function mend(store: Store, { experiment, phase }: TrainInput, attempt: number): Promise<void> {
  const user = experiment === undefined ? undefined : { experiment, part: phase.id };
  const newest = await newestWhole(store, phase.key, user);
  const steps = await repairCurve(store, phase.key, newest, phase.hyperparameters.total_steps);
  if (steps.length === 0 || attempt === 0) return;
  const message = `metrics of step ${steps.join(', ')} were damaged and have been restored from the newest checkpoint`;
  console.error(`${phase.id}: ${message}.`);
  await new JsonLinesWriter(path.join(store.attempt(phase.key, attempt), 'events.jsonl')).append({
    time: Date.now() / 1000,
    message,
  });
}

/** The part of a job that depends on the engine. */
function enginePart(engine: Engine) {
  if (engine.name === 'trl') return { device: engine.device, dtype: engine.dtype };
  const { name: _, threads: __, ...cluster } = engine;
  const python = path.resolve(PROJECT, cluster.python);
  return { device: 'cuda', dtype: 'bfloat16', cluster: { ...cluster, python } };
}

/**
 * Decides whether an ended attempt may be followed by another; throws when not. The failure's type is what was recognised in the log
 * (failures.ts), what the engine reported, or TrainerFailed; its details are the {@link RecognisedFailure} (or null) and the error's trace.
 */
export async function throwIfStuck(store: Store, phase: PhasePlan, attempt: number): Promise<void> {
  const directory = store.attempt(phase.key, attempt);
  const log = path.join(directory, 'log.txt');
  const failure = await readJson(path.join(directory, 'error.json'), EngineFailure);
  const reported = failure === null ? '' : `${failure.message}\n${failure.detail}`;
  const recognised = await diagnoseLog(log, reported, phase.hyperparameters);
  const what = failure?.message ?? 'the trainer was killed without a word';
  const fail = (type: string) =>
    ApplicationFailure.create({
      type,
      nonRetryable: true,
      message: `${phase.id}: ${recognised === null ? what : `${recognised.evidence} ${recognised.advice}`}`,
      details: [recognised, failure?.detail ?? ''],
    });
  if (failure !== null && HOPELESS.has(failure.type)) throw fail(recognised?.kind ?? failure.type);
  if (recognised !== null && recognised.retry !== 'as-is') throw fail(recognised.kind);
  const { failed, silent } = await fruitlessAttempts(store, phase.key);
  if (failed >= MAX_STUCK_ATTEMPTS || silent >= MAX_SILENT_DEATHS)
    throw fail(recognised?.kind ?? 'TrainerFailed');
  const tail = await logTail(log, 5);
  console.error(`attempt ${attempt} of ${phase.id} ended (${what}); another follows.\n${tail}`);
}

/** The newest attempts in a row that took no step: those that reported an error (up to the first that did not), and all of them. */
async function fruitlessAttempts(
  store: Store,
  phaseKey: string,
): Promise<{ failed: number; silent: number }> {
  const row: boolean[] = [];
  for (const number of (await listAttempts(store, phaseKey)).reverse()) {
    const names = await readdir(store.attempt(phaseKey, number));
    if (names.includes('metrics.jsonl')) break;
    row.push(names.includes('error.json'));
  }
  const first = row.indexOf(false);
  return { failed: first === -1 ? row.length : first, silent: row.length };
}
