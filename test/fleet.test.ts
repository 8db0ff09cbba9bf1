/** Workers on two hosts (here: processes): a phase stays on one, and goes on on the other when the first dies. Models are scripted. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { TestWorkflowEnvironment } from '@temporalio/testing';
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
import { SEARCH_ATTRIBUTES } from '../workflows/search-attributes.ts';
import { gpuFreeActivities } from './support/gpu-free-world.ts';

const PROJECT = path.resolve(import.meta.dirname, '..');
const HOME = mkdtempSync(path.join(os.tmpdir(), 'p2r-fleet-'));
const store = openStore(HOME);
const hosts: ChildProcess[] = [];
let environment: TestWorkflowEnvironment;
let workers: Worker[];
let running: Promise<unknown>;

function startHost(name: string, stuckAt: number): ChildProcess {
  const script = path.join(PROJECT, 'test', 'support', 'host-main.ts');
  const host = spawn(process.execPath, [script, HOME, environment.address, name, String(stuckAt)], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  hosts.push(host);
  return host;
}

beforeAll(async () => {
  environment = await TestWorkflowEnvironment.createLocal({
    server: {
      executable: { type: 'existing-path', path: path.join(PROJECT, '.venv', 'bin', 'temporal') },
      searchAttributes: Object.values(SEARCH_ATTRIBUTES),
    },
  });
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
  for (const worker of workers) worker.shutdown();
  await running;
  await environment.teardown();
  await rm(HOME, { recursive: true, force: true });
}, 60_000);

test('a host dies in the middle of a phase; the other goes on from its last checkpoint', async () => {
  const study = parseStudy(
    { ...(await loadStudy('tiny-smoke')), placement: 'fleet', schedule: ['perceiver'] },
    'test',
  );
  const plan = planExperiment(study, 'fleet', 'model-1');
  const base = { created_at: new Date().toISOString(), base_key: 'model-1', decisions: {}, revisions: [] };
  await writeExperiment(store, recordOf(plan, { ...base, lineage: null }));
  const key = plan.phases[0]?.key ?? '';

  const first = startHost('a', 2);
  const handle = await environment.client.workflow.start('experiment', {
    workflowId: 'fleet',
    taskQueue: 'fleet-control',
    args: [{ experiment: 'fleet' }],
  });
  while (!(await committedSteps(store, key)).includes(1)) await sleep(50);
  first.kill('SIGKILL');
  startHost('b', 0);
  await handle.result();

  expect((await readPhaseMetrics(store, key)).map(({ step, reward_mean }) => [step, reward_mean])).toEqual([
    [1, 1],
    [2, 2],
  ]);
  const lost = (await readEvents(store, 'fleet')).filter(({ type }) => type === 'host-lost');
  expect(lost.map(({ detail }) => detail)).toEqual([{ host: 'p2r-gpu-a' }]);
}, 240_000);

test('a worker belongs to the fleets that are named, and to all when none is', () => {
  expect(workerFleets(undefined)).toEqual(['control', 'cpu', 'gpu']);
  expect(workerFleets('cpu, gpu')).toEqual(['cpu', 'gpu']);
  expect(() => workerFleets('gpus')).toThrow(/"gpus": allowed are control, cpu, gpu/);
});
