/** An experiment of a hundred iterations on a real Temporal server, and its history replayed. */
import { mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { bundleWorkflowCode, DefaultLogger, Runtime, Worker } from '@temporalio/worker';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { writeExperiment } from '../store/experiments.ts';
import { openStore } from '../store/layout.ts';
import { loadStudy } from '../studies/index.ts';
import { planExperiment } from '../studies/plan.ts';
import { recordOf } from '../studies/revisions.ts';
import { parseStudy } from '../studies/study.ts';
import { gpuFreeActivities, type Script } from './support/gpu-free-world.ts';
import { temporalServer } from './support/temporal-server.ts';

const PROJECT = path.resolve(import.meta.dirname, '..');
const HOME = mkdtempSync(path.join(os.tmpdir(), 'p2r-iterations-'));
const store = openStore(HOME);
let environment: TestWorkflowEnvironment;

beforeAll(async () => {
  Runtime.install({ logger: new DefaultLogger('ERROR') });
  environment = await temporalServer();
}, 60_000);

afterAll(async () => {
  await environment.teardown();
  await rm(HOME, { recursive: true, force: true });
}, 60_000);

test('a hundred iterations stay within short histories, and replay', async () => {
  const study = parseStudy({ ...(await loadStudy('tiny-smoke')), iterations: 100 }, 'test');
  const plan = planExperiment(study, 'hundred', 'model-1');
  const story = { base_key: 'model-1', decisions: {}, revisions: [], lineage: null };
  await writeExperiment(store, recordOf(plan, { ...story, created_at: new Date().toISOString() }));
  const bundle = (...file: string[]) => bundleWorkflowCode({ workflowsPath: path.join(PROJECT, ...file) });
  const worker = await Worker.create({
    connection: environment.nativeConnection,
    taskQueue: 'many',
    workflowBundle: await bundle('test', 'support', 'short-iterations.ts'),
    activities: gpuFreeActivities(store, {} as Script, []),
  });
  const { workflow } = environment.client;
  await worker.runUntil(
    workflow.execute('experiment', {
      workflowId: 'hundred',
      taskQueue: 'many',
      args: [{ experiment: 'hundred' }],
    }),
  );
  const workflowBundle = await bundle('workflows', 'index.ts');
  const started = new Set<string>();
  for await (const { runId } of workflow.list({ query: 'WorkflowType = "experiment"' })) {
    const history = await workflow.getHandle('hundred', runId).fetchHistory();
    await Worker.runReplayHistory({ workflowBundle }, history, 'hundred');
    const events = history.events ?? [];
    for (const { startChildWorkflowExecutionInitiatedEventAttributes: child } of events)
      if (child?.workflowId != null) started.add(child.workflowId);
    // Temporal warns at 10,240 events and ends a run at 51,200.
    expect(events.length).toBeLessThan(5000);
  }
  expect([...started].filter((id) => id.includes('iteration-'))).toHaveLength(100);
}, 240_000);
