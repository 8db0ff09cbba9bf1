/** Control flow on a real Temporal server: the gate and its decisions, pause, repair, early stop, rerun and fork. Models are scripted. */
import { randomUUID } from 'node:crypto';
import { mkdtempSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import type { WorkflowHandle } from '@temporalio/client';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { bundleWorkflowCode, DefaultLogger, Runtime, Worker, type WorkflowBundle } from '@temporalio/worker';
import { afterAll, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { createTrainingActivities } from '../activities/training.ts';
import { committedSteps } from '../store/checkpoints.ts';
import { type ExperimentRecord, readEvents, readExperiment, writeExperiment } from '../store/experiments.ts';
import { openStore } from '../store/layout.ts';
import { readPhaseMetrics } from '../store/metrics.ts';
import { readProgress } from '../store/progress.ts';
import { queue, writePriority } from '../store/slots.ts';
import { loadStudy } from '../studies/index.ts';
import { planExperiment } from '../studies/plan.ts';
import { fork, recordOf, revise } from '../studies/revisions.ts';
import { parseStudy } from '../studies/study.ts';
import { abortPhaseUpdate, retryPhaseUpdate, skipPhaseUpdate } from '../workflows/decisions.ts';
import { pauseUpdate, resumeUpdate } from '../workflows/experiment.ts';
import type { PhasePlan } from '../workflows/types.ts';
import { gpuFreeActivities, type Log, type Script } from './support/gpu-free-world.ts';
import { recordedHistory } from './support/recorded-history.ts';
import { temporalServer } from './support/temporal-server.ts';

const STAND_IN = path.resolve(import.meta.dirname, '..', 'activities', 'fixtures', 'trainer-stand-in.mjs');
const PROJECT = path.resolve(import.meta.dirname, '..');
const HOME = mkdtempSync(path.join(os.tmpdir(), 'p2r-gate-'));
const store = openStore(HOME);
const log: Log = [];
const plain: Script = {
  metrics: () => ({ reward_mean: 0.5, box_count: 1 }),
  failure: () => null,
  before: async () => undefined,
  accuracy: () => 0.5,
};
const script: Script = { ...plain };
/** Set to a version to record the decisions' histories for test/replay.test.ts. */
const RECORD = process.env.P2R_RECORD_HISTORIES;
let bundle: WorkflowBundle;
let environment: TestWorkflowEnvironment;
let worker: Worker;
let running: Promise<void>;

beforeAll(async () => {
  Runtime.install({ logger: new DefaultLogger('ERROR') });
  environment = await temporalServer();
  bundle = await bundleWorkflowCode({ workflowsPath: path.join(PROJECT, 'workflows', 'index.ts') });
  worker = await Worker.create({
    connection: environment.nativeConnection,
    taskQueue: 'gate',
    workflowBundle: bundle,
    activities: gpuFreeActivities(store, script, log),
    maxHeartbeatThrottleInterval: '200ms',
    defaultHeartbeatThrottleInterval: '200ms',
  });
  running = worker.run();
}, 120_000);

afterAll(async () => {
  worker.shutdown();
  await running;
  await environment.teardown();
  await rm(HOME, { recursive: true, force: true });
}, 60_000);

beforeEach(() => {
  Object.assign(script, plain);
  log.length = 0;
});

let count = 0;

/** A record of its own keys (each test has another seed), so that tests share nothing. */
async function prepare(settings: object = {}): Promise<ExperimentRecord> {
  const seed = ++count;
  const study = parseStudy({ ...(await loadStudy('tiny-smoke')), seed, ...settings }, 'test');
  const record = recordOf(planExperiment(study, `gate-${seed}`, 'model-1'), {
    created_at: new Date().toISOString(),
    base_key: 'model-1',
    decisions: {},
    revisions: [],
    lineage: null,
  });
  await writeExperiment(store, record);
  return record;
}

async function start({ experiment }: ExperimentRecord): Promise<WorkflowHandle> {
  return environment.client.workflow.start('experiment', {
    workflowId: experiment,
    taskQueue: 'gate',
    args: [{ experiment }],
  });
}

const gateOf = (experiment: string, phase: string) =>
  environment.client.workflow.getHandle(`${experiment}/${phase}`);

/** Resolves when the event is in the diary. */
async function happened(experiment: string, type: string, times = 1): Promise<void> {
  for (;;) {
    const found = (await readEvents(store, experiment)).filter((event) => event.type === type);
    if (found.length >= times) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

test('a failed phase waits with its message, refuses wrong decisions, and is retried from a checkpoint with other settings', async () => {
  const record = await prepare();
  script.failure = (phase, step) =>
    phase.role === 'perceiver' && step === 2 && phase.hyperparameters.lr > 1e-6 ? 'loss is not finite' : null;
  const handle = await start(record);
  await happened(record.experiment, 'phase-waiting');
  const progress = await readProgress(store, record);
  expect(progress.state).toBe('waiting');
  expect(progress.message).toBe('loss is not finite');

  const gate = gateOf(record.experiment, 'iteration-1/perceiver');
  const refuse = async (args: object) =>
    gate.executeUpdate(retryPhaseUpdate, { args: [args] }).then(
      () => 'taken',
      (error: Error) => `${error.message} ${error.cause instanceof Error ? error.cause.message : ''}`,
    );
  expect(await refuse({ overrides: { learning_rate: 1 } })).toMatch(/learning_rate is not a hyper-parameter/);
  expect(await refuse({ overrides: { lr: -1 } })).toMatch(/lr: /);
  expect(await refuse({ fromStep: 2 })).toMatch(/fromStep is not part of a retry/);
  expect(await refuse({ fromCheckpoint: 7 })).toMatch(/no checkpoint of step 7; it has step-1/);
  expect((await readExperiment(store, record.experiment))?.revisions).toEqual([]);

  await gate.executeUpdate(retryPhaseUpdate, {
    args: [{ overrides: { lr: 1e-6 }, fromCheckpoint: 1 }],
  });
  await handle.result();
  expect(log).toEqual([
    'iteration-1/perceiver@1',
    'iteration-1/perceiver@2',
    'iteration-1/reasoner@1',
    'iteration-1/reasoner@2',
  ]);
  const after = await readExperiment(store, record.experiment);
  expect(after?.revisions).toMatchObject([
    { kind: 'retry', phase: 'iteration-1/perceiver', key: record.phases[0]?.key },
  ]);
  const curve = await readPhaseMetrics(store, after?.phases[0]?.key ?? '');
  expect(curve.map((row) => row.step)).toEqual([1, 2]);
  expect((await readProgress(store, after as ExperimentRecord)).state).toBe('completed');
}, 60_000);

test('a phase that does not meet its rule is tried as the study says, then waits; skip --keep takes its checkpoint', async () => {
  const record = await prepare({
    gate: {
      acceptance: [{ role: 'perceiver', metric: 'reward_mean', at_least: 0.6 }],
      retries: [{ role: 'perceiver', times: 1, overrides: { lr: 1e-6 } }],
    },
  });
  const handle = await start(record);
  await happened(record.experiment, 'phase-waiting');
  expect(log).toEqual([
    'iteration-1/perceiver@1',
    'iteration-1/perceiver@2',
    'iteration-1/perceiver@1',
    'iteration-1/perceiver@2',
  ]);
  const waiting = await readExperiment(store, record.experiment);
  expect(waiting?.revisions).toMatchObject([
    { kind: 'automatic-retry', decision: { overrides: { lr: 1e-6 } } },
  ]);
  expect((await readProgress(store, waiting as ExperimentRecord)).message).toBe(
    'reward_mean is 0.5 over the last 2 steps, below 0.6',
  );
  await gateOf(record.experiment, 'iteration-1/perceiver').executeUpdate(skipPhaseUpdate, {
    args: [{ use: 'checkpoint' }],
  });
  await handle.result();
  const after = await readExperiment(store, record.experiment);
  // The base's evaluation is shared by all seeds.
  const { steps } = await readProgress(store, after as ExperimentRecord);
  expect(steps.slice(1).map((step) => step.state)).toEqual([
    'skipped',
    'completed',
    'completed',
    'completed',
  ]);
}, 60_000);

test('skipping to the start leaves the phase out; abort ends the experiment, and a rerun goes on from there', async () => {
  const record = await prepare();
  script.failure = (phase) => (phase.role === 'reasoner' ? 'no luck' : null);
  const handle = await start(record);
  await happened(record.experiment, 'phase-waiting');
  const gate = gateOf(record.experiment, 'iteration-1/reasoner');
  await gate.executeUpdate(abortPhaseUpdate);
  await expect(handle.result()).rejects.toThrow();
  const failed = await readProgress(store, record);
  expect(failed.state).toBe('failed');
  expect(failed.message).toBe('aborted at the gate: no luck');

  Object.assign(script, plain);
  await (await start(record)).result();
  expect(log).toEqual([
    'iteration-1/perceiver@1',
    'iteration-1/perceiver@2',
    'iteration-1/reasoner@1',
    'iteration-1/reasoner@2',
  ]);
  const twice = revise(
    record,
    'iteration-1/reasoner',
    { overrides: { lr: 1e-6 } },
    {
      kind: 'rerun',
      request: 'again',
      time: 'now',
    },
  );
  await writeExperiment(store, twice);
  await (await start(twice)).result();
  expect(log.slice(4)).toEqual(['iteration-1/reasoner@1', 'iteration-1/reasoner@2']);

  const child = fork(twice, `${record.experiment}-fork`, 'iteration-1/reasoner', { skip: 'start' }, 'now');
  await writeExperiment(store, child);
  await (await start(child)).result();
  expect(log).toHaveLength(6);
  expect(child.evaluations.at(-1)?.key).toBe(child.evaluations.at(-2)?.key);
}, 60_000);

test('an experiment that is paused goes on from its checkpoint, however often', async () => {
  const record = await prepare();
  const held = Promise.withResolvers<void>();
  script.before = (phase, step) =>
    phase.role === 'perceiver' && step === 2 ? held.promise : Promise.resolve();
  const handle = await start(record);
  while (log.length < 1) await new Promise((resolve) => setTimeout(resolve, 20));
  for (let times = 1; times <= 2; times++) {
    await handle.executeUpdate(pauseUpdate);
    await expect(handle.executeUpdate(pauseUpdate)).rejects.toThrow();
    await happened(record.experiment, 'experiment-paused', times);
    expect((await readProgress(store, record)).state).toBe('paused');
    await handle.executeUpdate(resumeUpdate);
    await happened(record.experiment, 'phase-started', times + 1);
  }
  held.resolve();
  await handle.result();
  expect(log.filter((step) => step === 'iteration-1/perceiver@1')).toHaveLength(1);
  expect(log).toHaveLength(4);
}, 60_000);

test('a damaged checkpoint is set aside, told, and computed again', async () => {
  const record = await prepare();
  const perceiver = record.phases[0]?.key ?? '';
  let broken = false;
  script.before = async (phase, step) => {
    if (phase.role !== 'reasoner' || step !== 1 || broken) return;
    broken = true;
    await writeFile(path.join(store.checkpoint(perceiver, 2), 'model.safetensors'), 'bit rot');
    throw new Error('the model server ended');
  };
  const handle = await start(record);
  await handle.result();
  expect(log).toEqual([
    'iteration-1/perceiver@1',
    'iteration-1/perceiver@2',
    'iteration-1/reasoner@1',
    'iteration-1/reasoner@2',
  ]);
  // The phase that was under way had loaded it before; whoever needs it next finds the damage.
  const later = revise(
    record,
    'iteration-1/reasoner',
    { again: true },
    {
      kind: 'rerun',
      request: 'later',
      time: 'now',
    },
  );
  await writeExperiment(store, later);
  log.length = 0;
  await (await start(later)).result();
  expect(log).toEqual(['iteration-1/perceiver@2', 'iteration-1/reasoner@1', 'iteration-1/reasoner@2']);
}, 60_000);

test('two checkpoints share the roles; one that another experiment must train first is asked for by name', async () => {
  const smoke = await loadStudy('tiny-smoke');
  const reasonerAlone = { schedule: ['reasoner'], checkpoint: 'iteration-1/reasoner' };
  const pairs = [
    { perceiver: 'iteration-1/perceiver@1', reasoner: 'base' },
    { perceiver: 'base', reasoner: reasonerAlone },
  ];
  const record = await prepare({ evaluation: { ...smoke.evaluation, pairs } });
  await expect((await start(record)).result()).rejects.toThrow();
  expect((await readProgress(store, record)).message).toMatch(
    /^evaluation\/base-for-iteration-1-reasoner-of-reasoner needs .* which this experiment does not train/,
  );
  const alone = { ...record, experiment: `${record.experiment}-alone` };
  const study = parseStudy(
    { ...record.config, schedule: ['reasoner'], evaluation: smoke.evaluation },
    'test',
  );
  await writeExperiment(store, recordOf(planExperiment(study, alone.experiment, 'model-1'), alone));
  await (await start(alone)).result();
  await (await start(record)).result();
  const { state, steps } = await readProgress(store, record);
  expect(state).toBe('completed');
  expect(steps.slice(-3).map((step) => `${step.id} ${step.state}`)).toEqual([
    'evaluation/iteration-1-perceiver-step-1-for-base reused',
    'evaluation/base-for-iteration-1-reasoner-of-reasoner completed',
    'evaluation/iteration-1-reasoner completed',
  ]);
  expect(record.evaluations.map(({ pair, uses }) => [pair, uses?.map(({ step }) => step)])).toEqual([
    [false, []],
    [false, [2]],
    [true, [1]],
    [true, [2]],
    [false, [2]],
  ]);
}, 60_000);

test('experiments take turns by priority; one that is terminated, or waits at its gate, holds nobody up', async () => {
  const onlyPerceiver = { schedule: ['perceiver'] };
  const [first, second, urgent] = [
    await prepare(onlyPerceiver),
    await prepare(onlyPerceiver),
    await prepare(onlyPerceiver),
  ];
  await writePriority(store, urgent.experiment, 1);
  const isOf = (record: ExperimentRecord) => (phase: PhasePlan) => phase.key === record.phases[0]?.key;
  const begun = Promise.withResolvers<void>();
  const nothing = new Promise<void>(() => undefined);
  script.before = async (phase) => {
    if (!isOf(first)(phase)) return;
    begun.resolve();
    await nothing;
  };
  script.failure = (phase) => (isOf(urgent)(phase) ? 'no luck' : null);
  const order: string[] = [];
  script.metrics = (phase, step) => {
    if (step === 1) order.push(isOf(second)(phase) ? 'second' : 'another');
    return { reward_mean: 0.5 };
  };
  const handles = [await start(first)];
  await begun.promise;
  for (const record of [second, urgent]) {
    handles.push(await start(record));
    await happened(record.experiment, 'phase-queued');
  }
  expect((await queue(store)).map(({ experiment, slot }) => [experiment, slot])).toEqual([
    [first.experiment, 0],
    [urgent.experiment, null],
    [second.experiment, null],
  ]);
  expect(await readProgress(store, second)).toMatchObject({
    state: 'queued',
    message: `waits for its turn on this machine; now: iteration-1/perceiver of ${first.experiment}`,
  });
  await gateOf(first.experiment, 'iteration-1/perceiver').terminate();
  await happened(urgent.experiment, 'phase-waiting');
  const gone = await readEvents(store, second.experiment);
  expect(gone.some(({ type }) => type === 'phase-started')).toBe(false);
  await handles[1]?.result();
  expect(order).toEqual(['second']);
  expect(await queue(store)).toEqual([]);
  await gateOf(urgent.experiment, 'iteration-1/perceiver').executeUpdate(abortPhaseUpdate);
  await expect(handles[2]?.result()).rejects.toThrow();
  await expect(handles[0]?.result()).rejects.toThrow();
}, 60_000);

test('an experiment ends early by its rule', async () => {
  const record = await prepare({ iterations: 3, early_stop: { patience: 1, min_gain: 0.05 } });
  script.accuracy = (id) => (id.includes('iteration-2') ? 0.61 : id.includes('iteration-1') ? 0.6 : 0.5);
  await (await start(record)).result();
  expect(new Set(log.map((step) => step.split('/')[0]))).toEqual(new Set(['iteration-1', 'iteration-2']));
  expect((await readEvents(store, record.experiment)).at(-2)).toMatchObject({
    type: 'experiment-stopped-early',
    detail: { iteration: 2 },
  });
  expect((await readProgress(store, record)).state).toBe('completed');
}, 60_000);

test('the history of a phase does not grow with its steps', async () => {
  const events: number[] = [];
  for (const total_steps of [10, 200]) {
    const smoke = await loadStudy('tiny-smoke');
    const record = await prepare({ perceiver: { ...smoke.perceiver, total_steps }, schedule: ['perceiver'] });
    await (await start(record)).result();
    const { events: found } = await gateOf(record.experiment, 'iteration-1/perceiver').fetchHistory();
    // How events share workflow tasks is a matter of timing; everything else is not.
    events.push(
      (found ?? []).filter(
        (event) =>
          !event.workflowTaskScheduledEventAttributes &&
          !event.workflowTaskStartedEventAttributes &&
          !event.workflowTaskCompletedEventAttributes,
      ).length,
    );
  }
  expect(log).toHaveLength(210);
  expect(events[1]).toBe(events[0]);
}, 60_000);

test('a phase workflow that is reset loses no step, and no line is written twice', async () => {
  const taskQueue = 'fencing';
  const resetting = await Worker.create({
    connection: environment.nativeConnection,
    taskQueue,
    workflowBundle: bundle,
    activities: {
      ...gpuFreeActivities(store, script, log),
      trainRole: createTrainingActivities(store, STAND_IN).trainRole,
    },
    maxHeartbeatThrottleInterval: '200ms',
    defaultHeartbeatThrottleInterval: '200ms',
  });
  const working = resetting.run();
  const hold = path.join(HOME, 'hold');
  await writeFile(hold, '');
  vi.stubEnv('P2R_STAND_IN_HOLD', hold);
  const smoke = await loadStudy('tiny-smoke');
  const record = await prepare({ perceiver: { ...smoke.perceiver, total_steps: 12, save_freq: 1 } });
  const [{ id, key } = { id: '', key: '' }] = record.phases;
  const workflowId = `${record.experiment}/${id}`;
  const { workflow } = environment.client;
  const first = await workflow.start('phase', {
    workflowId,
    taskQueue,
    args: [{ experiment: record.experiment, phase: id }],
  });
  while ((await committedSteps(store, key)).length < 3)
    await new Promise((resolve) => setTimeout(resolve, 20));
  const { events } = await first.fetchHistory();
  const { runId } = await environment.client.workflowService.resetWorkflowExecution({
    namespace: 'default',
    workflowExecution: { workflowId, runId: first.firstExecutionRunId },
    workflowTaskFinishEventId: events?.find((event) => event.workflowTaskCompletedEventAttributes)?.eventId,
    reason: 'test',
    requestId: randomUUID(),
  });
  // The trainer goes on once the new run looks after it: earlier, the phase might be done before the new run begins.
  const again = workflow.getHandle(workflowId, runId);
  const training = async () =>
    (await again.describe()).raw.pendingActivities?.some(
      ({ activityType }) => activityType?.name === 'trainRole',
    );
  await expect.poll(training).toBe(true);
  await rm(hold);
  expect(await again.result()).toMatchObject({ key, how: 'computed' });
  expect((await readPhaseMetrics(store, key)).map(({ step }) => step)).toEqual(
    Array.from({ length: 12 }, (_, index) => index + 1),
  );
  resetting.shutdown();
  await working;
}, 60_000);

test('every history of these tests replays', async () => {
  let replayed = 0;
  for await (const { workflowId, runId } of environment.client.workflow.list()) {
    const history = await environment.client.workflow.getHandle(workflowId, runId).fetchHistory();
    await Worker.runReplayHistory({ workflowBundle: bundle }, history, workflowId);
    if (
      RECORD !== undefined &&
      /^gate-[12]\/iteration-1\/perceiver$|^gate-[45]$|-fork\/iteration-1\/reasoner$/.test(workflowId)
    ) {
      const name = `${workflowId.includes('/') ? 'phase' : 'experiment'}-${RECORD}-${workflowId.replaceAll('/', '-')}-${runId.slice(-4)}.json`;
      await writeFile(path.join(import.meta.dirname, 'histories', name), recordedHistory(history));
    }
    replayed++;
  }
  expect(replayed).toBeGreaterThan(30);
}, 120_000);
