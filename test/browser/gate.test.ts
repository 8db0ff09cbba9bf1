/** The gate in Chromium against a real Temporal server: a phase that failed is tried again by a click and the experiment ends. */
import { mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { bundleWorkflowCode, Worker } from '@temporalio/worker';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createGateClient } from '../../cli/services/gate-client.ts';
import { createSystemSource } from '../../cli/services/system-source.ts';
import { readEvents, readExperiment, writeExperiment } from '../../store/experiments.ts';
import { openStore } from '../../store/layout.ts';
import { readPhaseMetrics } from '../../store/metrics.ts';
import { loadStudy } from '../../studies/index.ts';
import { planExperiment } from '../../studies/plan.ts';
import { recordOf } from '../../studies/revisions.ts';
import { TASK_QUEUE } from '../../temporal.config.ts';
import { gpuFreeActivities } from '../support/gpu-free-world.ts';
import { temporalServer } from '../support/temporal-server.ts';
import { lowContrast, openBrowser, openPage, picture, serveHome } from './support.ts';

const PROJECT = path.resolve(import.meta.dirname, '..', '..');
const HOME = mkdtempSync(path.join(os.tmpdir(), 'p2r-browser-gate-'));
const store = openStore(HOME);
const TOKEN = 'token-of-the-gate-test';
const FAILURE = 'loss is not finite at step 2';

let environment: TestWorkflowEnvironment;
let worker: Worker;
let running: Promise<void>;
let browser: Browser;
let system: ReturnType<typeof createSystemSource>;
let served: Awaited<ReturnType<typeof serveHome>>;
const addressBefore = process.env.TEMPORAL_ADDRESS;

beforeAll(async () => {
  environment = await temporalServer();
  process.env.TEMPORAL_ADDRESS = environment.address;
  worker = await Worker.create({
    connection: environment.nativeConnection,
    taskQueue: TASK_QUEUE,
    workflowBundle: await bundleWorkflowCode({
      workflowsPath: path.join(PROJECT, 'workflows', 'index.ts'),
    }),
    activities: gpuFreeActivities(
      store,
      {
        metrics: () => ({ reward_mean: 0.5, box_count: 1 }),
        failure: (phase, step) =>
          phase.role === 'perceiver' && step === 2 && phase.hyperparameters.lr > 1e-6 ? FAILURE : null,
        recognised: { kind: 'diverged', overrides: { lr: 1e-7 } },
        before: async () => undefined,
        accuracy: () => 0.5,
      },
      [],
    ),
  });
  running = worker.run();
  system = createSystemSource(store);
  served = await serveHome(HOME, { token: TOKEN, gate: createGateClient(store), system });
  browser = await openBrowser();
}, 120_000);

afterAll(async () => {
  await browser.close();
  await served.close();
  await system.close();
  worker.shutdown();
  await running;
  await environment.teardown();
  if (addressBefore === undefined) delete process.env.TEMPORAL_ADDRESS;
  else process.env.TEMPORAL_ADDRESS = addressBefore;
  await rm(HOME, { recursive: true, force: true });
}, 60_000);

test('a waiting phase cannot be overlooked, shows what a retry would do, and is really tried again', async () => {
  const experiment = 'gate-in-the-browser';
  const study = await loadStudy('tiny-smoke');
  await writeExperiment(
    store,
    recordOf(planExperiment(study, experiment, 'model-1'), {
      created_at: new Date().toISOString(),
      base_key: 'model-1',
      decisions: {},
      revisions: [],
      lineage: null,
    }),
  );
  const handle = await environment.client.workflow.start('experiment', {
    workflowId: experiment,
    taskQueue: TASK_QUEUE,
    args: [{ experiment }],
  });

  const { page, errors, outside } = await openPage(browser, served.url);
  await page.goto(`${served.url}/experiments/${experiment}/gate`);
  // Without the token one may look, and no more.
  await page.getByText(FAILURE).first().waitFor();
  await page.getByText('This page may only look').waitFor();
  expect(await page.getByRole('button', { name: 'Retry' }).isDisabled()).toBe(true);

  await page.goto(`${served.url}/?token=${TOKEN}`);
  expect(page.url()).not.toContain('token');
  await page.getByText(`${experiment} needs a decision`).waitFor();
  await page.getByRole('link', { name: 'Decide' }).click();
  await page.getByRole('heading', { name: 'iteration 1, perceiver waits for your decision' }).waitFor();
  expect(await page.title()).toMatch(/^\(!\)/);
  expect(await page.evaluate(lowContrast)).toEqual([]);

  const plan = page.locator('.table', { hasText: 'What a retry would do' });
  await plan.waitFor();
  await page.getByLabel('lr', { exact: true }).fill('1');
  await page.getByLabel('train batch size').fill('no number');
  await page.getByText(/These settings cannot be used: .*train_batch_size/).waitFor();
  await page.getByLabel('train batch size').fill(String(study.perceiver?.train_batch_size));
  await page.getByRole('button', { name: 'Fill in the advice: lr = 1e-7' }).click();
  await plan.getByText(/its settings change: lr/).waitFor();
  for (const width of [390, 1280]) {
    await page.setViewportSize({ width, height: 800 });
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(width);
    await picture(page, 'gate');
  }
  await page.getByRole('button', { name: 'Retry' }).click();
  await page.getByText('With lr = 1e-7.').waitFor();
  await page.getByRole('button', { name: 'Not now' }).click();
  expect((await readEvents(store, experiment)).filter(({ type }) => type === 'phase-retried')).toEqual([]);
  // The decision itself by keyboard.
  await page.getByRole('button', { name: 'Retry' }).focus();
  await page.keyboard.press('Enter');
  await page.getByRole('button', { name: 'Yes, retry' }).waitFor();
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');

  await page.locator('.title .badge[data-state="completed"]').waitFor();
  await handle.result();
  const record = await readExperiment(store, experiment);
  expect(record?.decisions['iteration-1/perceiver']?.overrides).toEqual({ lr: 1e-7 });
  // The phase really ran again, to its end and under its new key.
  const retried = record?.phases[0];
  const types = (await readEvents(store, experiment)).flatMap(({ type, phase }) =>
    phase === 'iteration-1/perceiver' ? type : [],
  );
  expect(types).toEqual([
    'phase-started',
    'phase-waiting',
    'phase-retried',
    'phase-started',
    'phase-completed',
  ]);
  const rows = await readPhaseMetrics(store, retried?.key ?? '');
  expect(rows.map(({ step }) => step)).toEqual([1, 2]);
  await page.goto(`${served.url}/experiments/${experiment}`);
  await page.locator('.told').getByText('retried', { exact: true }).waitFor();
  await page.locator('.track-bar[data-role="waiting"]').waitFor();

  await page.goto(`${served.url}/system`);
  await page
    .locator('.table', { hasText: 'Workflows' })
    .getByText(`${experiment}/iteration-1/perceiver`)
    .waitFor();
  expect(await page.locator('.table', { hasText: 'Workers' }).locator('tbody tr').count()).toBeGreaterThan(0);
  await picture(page, 'system-with-workers');
  expect(errors).toEqual([]);
  expect(outside).toEqual([]);
}, 90_000);
