/** Who starts, finds, stops and fences a trainer: the activity over a stand-in engine, without a server. */
import { mkdtempSync, writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from '@temporalio/client';
import { ActivityCancellationDetails } from '@temporalio/common';
import { MockActivityEnvironment } from '@temporalio/testing';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { committedSteps } from '../store/checkpoints.ts';
import { readJson } from '../store/files.ts';
import { openStore, type Store } from '../store/layout.ts';
import { Lease, leaseFile, takeLease } from '../store/lease.ts';
import { listAttempts, readPhaseMetrics } from '../store/metrics.ts';
import { planExperiment } from '../studies/plan.ts';
import smoke from '../studies/tiny-smoke.ts';
import type { PhasePlan } from '../workflows/types.ts';
import { attach, type ProcessRecord, signalGroup, stop } from './processes.ts';
import { createTrainingActivities } from './training.ts';

const STAND_IN = path.join(import.meta.dirname, 'fixtures', 'trainer-stand-in.mjs');
const STEPS = 8;
let store: Store;
let phase: PhasePlan;

beforeEach(() => {
  store = openStore(mkdtempSync(path.join(os.tmpdir(), 'p2r-trainer-')));
  const study = { ...smoke, perceiver: { ...smoke.perceiver, total_steps: STEPS, save_freq: 1 } };
  phase = planExperiment(study, 'e', 'model-1').phases[0] as PhasePlan;
  process.env.P2R_STAND_IN_STEP_MS = '100';
});
afterEach(async () => {
  for (const attempt of await listAttempts(store, phase.key)) await stop(recordOf(attempt), 0);
});

const recordOf = (attempt: number) => path.join(store.attempt(phase.key, attempt), 'process.json');
const running = async (attempt: number) => (await attach(recordOf(attempt))) as ProcessRecord;

/** Runs the activity in an environment of its own, for a workflow that Temporal says is in this state. */
function train(workflow = 'RUNNING') {
  const client = {
    withAbortSignal: (_: AbortSignal, ask: () => unknown) => ask(),
    workflow: { getHandle: () => ({ describe: async () => ({ status: { name: workflow } }) }) },
  } as unknown as Client;
  const environment = new MockActivityEnvironment(undefined, { client });
  const { trainRole } = createTrainingActivities(store, STAND_IN);
  const ended = environment.run(trainRole, { experiment: 'e', study: smoke, phase }).then(
    () => 'done',
    (error: Error) => error.name,
  );
  return { environment, ended };
}

async function until(step: number): Promise<void> {
  while (((await committedSteps(store, phase.key)).at(-1) ?? 0) < step) await sleep(20);
}

/** Every step once, and no line of metrics twice. */
async function expectWholeCurve(): Promise<void> {
  expect((await readPhaseMetrics(store, phase.key)).map(({ step }) => step)).toEqual(
    Array.from({ length: STEPS }, (_, index) => index + 1),
  );
}

test.each([
  { reason: 'workerShutdown', trainer: 'goes on' },
  { reason: 'timedOut', trainer: 'goes on' },
  { reason: 'cancelRequested', trainer: 'commits and ends' },
  { reason: 'paused', trainer: 'commits and ends' },
  { reason: 'reset', trainer: 'commits and ends' },
  { reason: 'notFound', trainer: 'goes on', workflow: 'RUNNING' },
  { reason: 'notFound', trainer: 'commits and ends', workflow: 'TERMINATED' },
])(
  '$reason: the trainer $trainer, and the next attempt of the activity loses no step',
  async ({ reason, trainer: does, workflow }) => {
    const { environment, ended } = train(workflow);
    await until(2);
    const process = await running(1);
    environment.cancel('CANCELLED', new ActivityCancellationDetails({ [reason]: true }));
    expect(await ended).toBe('CancelledFailure');
    const before = (await committedSteps(store, phase.key)).at(-1) ?? 0;
    if (does === 'goes on') expect(await attach(recordOf(1))).toEqual(process);
    else expect(await attach(recordOf(1))).toBeNull();
    expect(await train().ended).toBe('done');
    await expectWholeCurve();
    expect(await listAttempts(store, phase.key)).toEqual(does === 'goes on' ? [1] : [1, 2]);
    expect(before).toBeGreaterThanOrEqual(2);
  },
);

test('a trainer that is killed is followed by one that resumes; two activities at once share it', async () => {
  const [first, second] = [train(), train()];
  await until(2);
  signalGroup((await running(1)).pid, 'SIGKILL');
  expect(await Promise.all([first.ended, second.ended])).toEqual(['done', 'done']);
  await expectWholeCurve();
  expect(await listAttempts(store, phase.key)).toEqual([1, 2]);
});

test('a trainer that slept while another took the phase over writes nothing more', async () => {
  const first = train();
  await until(2);
  const sleeper = await running(1);
  signalGroup(sleeper.pid, 'SIGSTOP');
  first.environment.cancel('TIMED_OUT', new ActivityCancellationDetails({ timedOut: true }));
  await first.ended;
  const steps = await committedSteps(store, phase.key);
  const lines = (await readPhaseMetrics(store, phase.key)).length;
  await takeLease(store, phase.key, 'another');
  signalGroup(sleeper.pid, 'SIGCONT');
  while ((await attach(recordOf(1))) !== null) await sleep(20);
  expect(await committedSteps(store, phase.key)).toEqual(steps);
  expect(await readPhaseMetrics(store, phase.key)).toHaveLength(lines);
  expect(await train().ended).toBe('done');
  await expectWholeCurve();
  expect(await readJson(leaseFile(store, phase.key), Lease)).toMatchObject({ token: 3, owner: 'attempt 2' });
});

test('an attempt that somebody else is just starting is waited for, and taken over when nothing comes of it', async () => {
  await mkdir(store.attempt(phase.key, 1), { recursive: true });
  const { ended } = train();
  await sleep(600);
  expect(await listAttempts(store, phase.key)).toEqual([1]);
  // As if its starter had come that far, and died.
  writeFileSync(recordOf(1), '{}');
  expect(await ended).toBe('done');
  expect(await listAttempts(store, phase.key)).toEqual([1, 2]);
});
