/**
 * Workers on two hosts: a phase stays on one, and goes on on the other when the first dies or is cut off. Hosts are network namespaces
 * where the test may make them, else plain processes. Models are scripted.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { bundleWorkflowCode, Worker } from '@temporalio/worker';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { committedSteps } from '../store/checkpoints.ts';
import { readEvents, writeExperiment } from '../store/experiments.ts';
import { openStore } from '../store/layout.ts';
import { readPhaseMetrics } from '../store/metrics.ts';
import { loadStudy } from '../studies/index.ts';
import { planExperiment } from '../studies/plan.ts';
import { recordOf } from '../studies/revisions.ts';
import { parseStudy } from '../studies/study.ts';
import { workerFleets } from '../temporal.config.ts';
import { CPU_QUEUE } from '../workflows/queues.ts';
import { gpuFreeActivities } from './support/gpu-free-world.ts';
import { makeNetwork } from './support/network.ts';
import { temporalServer } from './support/temporal-server.ts';

const PROJECT = path.resolve(import.meta.dirname, '..');
const HOME = mkdtempSync(path.join(os.tmpdir(), 'p2r-fleet-'));
const store = openStore(HOME);
const network = makeNetwork(2);
const hosts: ChildProcess[] = [];
let environment: TestWorkflowEnvironment;
let address: string;
let workers: Worker[] = [];
let running: Promise<unknown>;

/** Starts host 0 or 1, which is called a or b, and stops getting anywhere at a step. */
function startHost(number: 0 | 1, stuckAt: number): ChildProcess {
  const script = path.join(PROJECT, 'test', 'support', 'host-main.ts');
  const name = number === 0 ? 'a' : 'b';
  const command = [process.execPath, script, HOME, address, name, String(stuckAt)];
  const [program = '', ...args] = network === null ? command : network.on(number, command);
  const host = spawn(program, args, { stdio: ['ignore', 'ignore', 'inherit'] });
  hosts.push(host);
  return host;
}

beforeAll(async () => {
  environment = await temporalServer();
  address = (await network?.publish(environment.address)) ?? environment.address;
  const script = {
    metrics: () => ({}),
    failure: () => 'the control fleet trains nothing',
    before: async () => undefined,
    accuracy: () => 0.5,
  };
  const activities = gpuFreeActivities(store, script, []);
  const connection = environment.nativeConnection;
  const workflowsPath = path.join(PROJECT, 'workflows', 'index.ts');
  workers = await Promise.all([
    Worker.create({
      connection,
      taskQueue: 'fleet-control',
      workflowBundle: await bundleWorkflowCode({ workflowsPath }),
      activities,
    }),
    Worker.create({ connection, taskQueue: CPU_QUEUE, activities }),
  ]);
  running = Promise.all(workers.map((worker) => worker.run()));
}, 180_000);

afterAll(async () => {
  for (const host of hosts) host.kill('SIGKILL');
  network?.remove();
  for (const worker of workers) worker.shutdown();
  await running;
  await environment.teardown();
  await rm(HOME, { recursive: true, force: true });
}, 60_000);

/** Runs a phase that host a does not finish, takes the host away, and checks what host b made of it. */
async function withoutTheFirstHost(
  experiment: string,
  seed: number,
  takeAway: (first: ChildProcess) => void,
) {
  const study = parseStudy(
    { ...(await loadStudy('tiny-smoke')), seed, placement: 'fleet', schedule: ['perceiver'] },
    'test',
  );
  const plan = planExperiment(study, experiment, 'model-1');
  const base = { created_at: new Date().toISOString(), base_key: 'model-1', decisions: {}, revisions: [] };
  await writeExperiment(store, recordOf(plan, { ...base, lineage: null }));
  const key = plan.phases[0]?.key ?? '';

  const first = startHost(0, 2);
  const handle = await environment.client.workflow.start('experiment', {
    workflowId: experiment,
    taskQueue: 'fleet-control',
    args: [{ experiment }],
  });
  while (!(await committedSteps(store, key)).includes(1)) await sleep(50);
  takeAway(first);
  const second = startHost(1, 0);
  await handle.result();
  second.kill('SIGKILL');

  expect((await readPhaseMetrics(store, key)).map(({ step, reward_mean }) => [step, reward_mean])).toEqual([
    [1, 1],
    [2, 2],
  ]);
  const lost = (await readEvents(store, experiment)).filter(({ type }) => type === 'host-lost');
  expect(lost.map(({ detail }) => detail)).toEqual([{ host: 'p2r-gpu-a' }]);
}

test('a host dies in the middle of a phase; the other goes on from its last checkpoint', async () => {
  await withoutTheFirstHost('dies', 1, (first) => first.kill('SIGKILL'));
}, 240_000);

test.skipIf(network === null)(
  'a host is cut off, though its programs run on',
  async () => {
    await withoutTheFirstHost('cut-off', 2, () => network?.cut(0));
  },
  240_000,
);

test('a worker belongs to the fleets that are named, and to all when none is', () => {
  expect(workerFleets(undefined)).toEqual(['control', 'cpu', 'gpu']);
  expect(workerFleets('cpu, gpu')).toEqual(['cpu', 'gpu']);
  expect(() => workerFleets('gpus')).toThrow(/"gpus": allowed are control, cpu, gpu/);
});
