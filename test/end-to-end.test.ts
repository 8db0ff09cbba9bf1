/**
 * The whole path for real: the command line, Temporal, the worker, the trainer with real gradients, the frozen role's server, the reward
 * service and the dashboard in a browser. Then the run's histories are replayed against today's workflow code.
 */
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync } from 'node:fs';
import { readFile, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { Client, Connection } from '@temporalio/client';
import { Worker } from '@temporalio/worker';
import { chromium } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readServices } from '../cli/services/state.ts';
import { checkpointFault } from '../store/checkpoints.ts';
import { readEvents, readExperiment } from '../store/experiments.ts';
import { openStore } from '../store/layout.ts';
import { readPhaseMetrics } from '../store/metrics.ts';
import { compare } from './chaos/compare.ts';
import { disturb } from './chaos/disturb.ts';
import { FAULTS } from './chaos/faults.ts';
import { Stack } from './chaos/stack.ts';

const run = promisify(execFile);
const PROJECT = path.resolve(import.meta.dirname, '..');
const P2R = path.join(PROJECT, 'cli', 'bin', 'p2r.mjs');
const HOME = mkdtempSync(path.join(os.tmpdir(), 'p2r-end-to-end-'));
const env = { ...process.env, P2R_HOME: HOME };
const store = openStore(HOME);
const EXPERIMENT = 'tiny-smoke-seed1';

type Result = {
  state: string;
  results: { checkpoint: string; strategy: string; accuracy: number; count: number }[];
};

async function p2r(...args: string[]): Promise<string> {
  return (await run(process.execPath, [P2R, ...args], { env, maxBuffer: 1 << 24 })).stdout;
}

let result: Result;

beforeAll(async () => {
  result = JSON.parse(await p2r('run', 'tiny-smoke', '--json')) as Result;
}, 900_000);

afterAll(async () => {
  await p2r('down');
  await rm(HOME, { recursive: true, force: true });
}, 120_000);

test('the experiment ends with scores of the base and of both checkpoints', () => {
  expect(result.state).toBe('completed');
  expect(result.results.map(({ checkpoint, strategy }) => `${checkpoint}/${strategy}`)).toEqual([
    'base/direct',
    'base/p2r',
    'iteration-1-perceiver/p2r',
    'iteration-1-reasoner/p2r',
  ]);
  for (const { accuracy, count } of result.results) {
    expect(count).toBe(16);
    expect(accuracy).toBeGreaterThanOrEqual(0);
    expect(accuracy).toBeLessThanOrEqual(1);
  }
});

test('both phases trained every step once and committed whole checkpoints with changed weights', async () => {
  const record = await readExperiment(store, EXPERIMENT);
  const hashes = new Set<string>();
  for (const phase of record?.phases ?? []) {
    const rows = await readPhaseMetrics(store, phase.key);
    expect(rows.map((row) => row.step)).toEqual([1, 2]);
    expect(Math.max(...rows.map((row) => row.grad_norm ?? 0))).toBeGreaterThan(0);
    const directory = store.checkpoint(phase.key, 2);
    expect(await checkpointFault(directory)).toBeNull();
    const marker = JSON.parse(await readFile(path.join(directory, 'COMMITTED.json'), 'utf8')) as {
      files: { path: string; sha256: string }[];
    };
    hashes.add(marker.files.find((file) => file.path === 'model.safetensors')?.sha256 ?? '');
  }
  expect(hashes.size).toBe(2);
});

test('a second run reuses everything and says so', async () => {
  const again = await p2r('run', 'tiny-smoke');
  expect(again).toContain('5 of 5 parts were computed before and have been reused.');
  const events = await readEvents(store, EXPERIMENT);
  expect(events.filter((event) => event.type === 'phase-reused')).toHaveLength(2);
}, 120_000);

test('the services leave no server or trainer of the run behind', async () => {
  const record = await readExperiment(store, EXPERIMENT);
  for (const phase of record?.phases ?? []) {
    expect(existsSync(path.join(store.phase(phase.key), 'services', 'model.process.json'))).toBe(false);
    expect(existsSync(path.join(store.phase(phase.key), 'services', 'reward.process.json'))).toBe(false);
  }
});

test('the recorded histories replay, and hold no metric, image or sample', async () => {
  const services = await readServices(store);
  const connection = await Connection.connect({ address: services?.temporal.address ?? '' });
  const client = new Client({ connection });
  let replayed = 0;
  try {
    for await (const { workflowId, runId } of client.workflow.list()) {
      const history = await client.workflow.getHandle(workflowId, runId).fetchHistory();
      expect(history.events?.length ?? 0).toBeLessThan(120);
      await Worker.runReplayHistory(
        { workflowsPath: path.join(PROJECT, 'workflows', 'index.ts') },
        history,
        workflowId,
      );
      replayed++;
    }
  } finally {
    await connection.close();
  }
  expect(replayed).toBeGreaterThanOrEqual(7);
}, 120_000);

test('the dashboard draws the curves in a browser, without errors or outside requests', async () => {
  const executablePath = [
    process.env.P2R_CHROMIUM,
    '/usr/bin/chromium',
    '/usr/bin/google-chrome',
    '/usr/bin/chromium-browser',
  ].find((candidate) => candidate !== undefined && existsSync(candidate));
  if (executablePath === undefined)
    throw new Error('No Chromium was found: install it, or set P2R_CHROMIUM to its path.');
  const url = (await readServices(store))?.dashboard.url ?? '';
  const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });
  try {
    const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
    const errors: string[] = [];
    const outside: string[] = [];
    page.on('console', (message) => message.type() === 'error' && errors.push(message.text()));
    page.on('pageerror', (error) => errors.push(error.message));
    page.on(
      'request',
      (request) =>
        !request.url().startsWith(url) && !/^(data|blob):/.test(request.url()) && outside.push(request.url()),
    );
    await page.goto(url);
    await page.getByRole('link', { name: EXPERIMENT }).click();
    await page.locator('.chart[data-metric="accuracy"] .scatterlayer .trace').first().waitFor();
    for (const metric of ['reward_mean', 'hit_rate', 'iou', 'box_count', 'box_size']) {
      expect(await page.locator(`.chart[data-metric="${metric}"] .scatterlayer .trace`).count()).toBe(2);
    }
    await page.locator('.title .badge[data-state="completed"]').waitFor();
    await page.setViewportSize({ width: 390, height: 800 });
    expect(await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth)).toBe(true);
    expect(errors).toEqual([]);
    expect(outside).toEqual([]);
  } finally {
    await browser.close();
  }
}, 60_000);

test('wrong input gets one sentence and exit code 2', async () => {
  const refuse = async (...args: string[]) =>
    run(process.execPath, [P2R, ...args], { env }).then(
      () => ({ code: 0, stderr: '' }),
      (error: { code: number; stderr: string }) => error,
    );
  const unknown = await refuse('run', 'no-such-study');
  expect(unknown.code).toBe(2);
  expect(unknown.stderr).toMatch(
    /^p2r: There is no study "no-such-study"\. Known studies: .*tiny-quickstart/,
  );
  const other = await refuse('status', 'nothing');
  expect(other.code).toBe(2);
  expect(other.stderr).toContain('There is no experiment "nothing"');
});

test('five faults lose nothing: weights, curves and predictions are those of the undisturbed run', async () => {
  const disturbed = mkdtempSync(path.join(os.tmpdir(), 'p2r-disturbed-'));
  const stack = new Stack(disturbed, EXPERIMENT, false);
  const names = ['worker', 'trainer', 'model server', 'reward service', 'temporal'];
  const faults = FAULTS.filter(({ name }) => names.some((target) => name === `${target}: kill -9`));
  try {
    const { outcomes, violations } = await disturb(stack, {
      study: 'tiny-smoke',
      seed: 1,
      faults: faults.map((fault) => ({ ...fault, weight: 1 })),
      count: names.length,
      say: () => undefined,
    });
    expect(violations).toEqual([]);
    expect(outcomes).toHaveLength(names.length);
    expect(outcomes.flatMap(({ gate }) => gate)).toEqual([]);
    const { differences } = await compare(new Stack(HOME, EXPERIMENT, false), stack);
    expect(differences).toEqual([]);
    expect(await stack.down()).toEqual([]);
  } finally {
    await stack.down();
    await rm(disturbed, { recursive: true, force: true });
  }
}, 900_000);
