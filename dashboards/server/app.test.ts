import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type {
  Curves,
  EvaluationPage,
  ExperimentList,
  PairedView,
  RolloutPage,
  SampleHistory,
} from './api.ts';
import { createDashboard } from './app.ts';

const EXAMPLE = path.resolve(import.meta.dirname, '..', '..', 'notebooks', 'example');
const EXPERIMENT = 'tiny-two-iterations-seed1';
const TOKEN = 'a-token-of-the-test';
const page = { html: { body: new Uint8Array(), type: 'text/html' }, assets: new Map() };
const said: string[] = [];

let home = '';
let dashboard: ReturnType<typeof createDashboard>;

beforeAll(async () => {
  home = await mkdtemp(path.join(os.tmpdir(), 'p2r-dashboard-'));
  await cp(EXAMPLE, home, { recursive: true });
  dashboard = createDashboard({
    home,
    page,
    token: TOKEN,
    onError: (error) => said.push(String(error)),
    gate: {
      plan: async () => [],
      retry: async () => undefined,
      skip: async () => undefined,
      abort: async () => undefined,
    },
  });
});
afterAll(async () => {
  dashboard.close();
  await rm(home, { recursive: true });
});

const ask = (address: string, init: RequestInit = {}) =>
  dashboard.app.request(`http://127.0.0.1${address}`, {
    ...init,
    headers: { host: '127.0.0.1:4177', ...init.headers },
  });
const answer = async <T>(address: string) => (await (await ask(address)).json()) as T;
const status = async (address: string, init: RequestInit = {}) => (await ask(address, init)).status;
const under = (rest: string) => `/api/experiments/${EXPERIMENT}/${rest}`;

test('other names, other sites and changes without the token are refused', async () => {
  expect(await status('/api/experiments', { headers: { host: 'evil.example' } })).toBe(403);
  expect(await status('/api/experiments', { headers: { origin: 'http://evil.example' } })).toBe(403);
  expect(await status('/api/experiments', { headers: { origin: 'null' } })).toBe(403);
  expect(await status('/api/experiments', { headers: { 'sec-fetch-site': 'cross-site' } })).toBe(403);
  expect(await status('/api/experiments', { headers: { origin: 'http://127.0.0.1:4177' } })).toBe(200);
  const change = { method: 'POST', body: '{}', headers: { 'content-type': 'application/json' } };
  expect(await status(under('gate/abort'), change)).toBe(401);
  const wrong = { ...change, headers: { ...change.headers, authorization: 'Bearer wrong' } };
  expect(await status(under('gate/abort'), wrong)).toBe(401);
  const right = { ...change, headers: { ...change.headers, authorization: `Bearer ${TOKEN}` } };
  // Allowed to ask, but no phase waits.
  expect(await status(under('gate/abort'), right)).toBe(409);
  const plain = { ...right, headers: { authorization: `Bearer ${TOKEN}`, 'content-type': 'text/plain' } };
  expect(await status(under('gate/abort'), plain)).toBe(400);
});

test('the printed address gives a cookie that scripts and other sites cannot use', async () => {
  const opened = await ask(`/?token=${TOKEN}`);
  expect(opened.status).toBe(302);
  expect(opened.headers.get('location')).toBe('/');
  const cookie = opened.headers.get('set-cookie') ?? '';
  expect(cookie).toMatch(/HttpOnly/);
  expect(cookie).toMatch(/SameSite=Strict/);
  const change = {
    method: 'POST',
    body: '{}',
    headers: { 'content-type': 'application/json', cookie: cookie.split(';')[0] ?? '' },
  };
  expect(await status(under('gate/abort'), change)).toBe(409);
});

test('where looking needs the token, nothing but the health check is shown without it', async () => {
  const guarded = createDashboard({
    home,
    page,
    token: TOKEN,
    tokenToLook: true,
    allowedHosts: ['lab.example'],
  });
  const look = (address: string, headers: Record<string, string> = {}) =>
    guarded.app.request(`http://lab.example${address}`, { headers: { host: 'lab.example', ...headers } });
  expect((await look('/')).status).toBe(401);
  expect((await look('/api/experiments')).status).toBe(401);
  expect((await look('/api/experiments', { authorization: `Bearer ${TOKEN}` })).status).toBe(200);
  expect((await look('/healthz')).status).toBe(200);
  guarded.close();
});

test('no inline script, no frame, no foreign source', async () => {
  const policy = (await ask('/')).headers.get('content-security-policy') ?? '';
  expect(policy).toContain("default-src 'none'");
  expect(policy).toContain("script-src 'self';");
  expect(policy).toContain("frame-ancestors 'none'");
  expect(policy).not.toContain('unsafe');
});

test.each(['../../etc', '%2e%2e%2f%2e%2e', 'a%2fb', '.hidden', 'a%00b', 'x'.repeat(200)])(
  'the id %s is refused',
  async (id) => {
    expect([400, 404]).toContain(await status(`/api/experiments/${id}`));
    expect([400, 404]).toContain(await status(`/api/experiments/${id}/curves?metrics=kl`));
    expect([400, 404]).toContain(await status(`/api/images?dataset=${id}&sample=a`));
  },
);

test('an image is sent only when a row names it, lies in the dataset and is an image', async () => {
  const dataset = path.join(home, 'datasets', 'needle-test');
  await mkdir(path.join(dataset, 'images'), { recursive: true });
  await writeFile(path.join(home, 'secret.txt'), 'secret');
  await writeFile(path.join(dataset, 'images', 'page.jpg'), '<script>alert(1)</script>');
  await symlink(path.join(home, 'secret.txt'), path.join(dataset, 'images', 'link.jpg'));
  const row = (sample_id: string, image: string) => ({
    sample_id,
    image,
    width: 1,
    height: 1,
    question: '',
    options: [],
    answer: '',
    kind: 'letter',
    boxes: [],
    labels: [],
    split: 'train',
  });
  const rows = [
    row('up', '../../secret.txt'),
    row('absolute', path.join(home, 'secret.txt')),
    row('link', 'images/link.jpg'),
    row('page', 'images/page.jpg'),
    row('gone', 'images/gone.jpg'),
  ];
  await writeFile(path.join(dataset, 'rows.jsonl'), rows.map((r) => `${JSON.stringify(r)}\n`).join(''));
  for (const { sample_id } of rows)
    expect(await status(`/api/images?dataset=needle-test&sample=${sample_id}`)).toBe(404);
  const { rollouts } = await answer<RolloutPage>(under('rollouts?limit=1'));
  const sample = rollouts[0]?.sample;
  const image = await ask(`/api/images?dataset=${sample?.dataset}&sample=${sample?.sample_id}`);
  expect(image.headers.get('content-type')).toBe('image/jpeg');
  expect(image.headers.get('x-content-type-options')).toBe('nosniff');
});

test('the list names states, accuracies and what builds on what', async () => {
  const { experiments, unreadable } = await answer<ExperimentList>('/api/experiments');
  expect(unreadable).toEqual([]);
  expect(experiments.map(({ experiment, state }) => [experiment, state])).toEqual([
    ['tiny-two-iterations-seed3', 'completed'],
    ['tiny-two-iterations-seed2', 'completed'],
    ['tiny-two-iterations-seed1', 'completed'],
  ]);
  for (const { base_accuracy, best_accuracy, step, total_steps } of experiments) {
    expect(best_accuracy ?? 0).toBeGreaterThan(base_accuracy ?? 1);
    expect(step).toBe(total_steps);
  }
});

test('curves come in columns, phase by phase, inside the window', async () => {
  const curves = await answer<Curves>(under('curves?metrics=reward_mean,never&from=10&to=25&smooth=0.9'));
  const series = curves.metrics.reward_mean ?? [];
  expect(series.map(({ phase }) => phase).slice(0, 2)).toEqual([
    'iteration-1/perceiver',
    'iteration-1/reasoner',
  ]);
  expect(series[0]?.x).toEqual([9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20]);
  expect(series[1]?.x).toEqual([21, 22, 23, 24, 25, 26]);
  expect(series[0]?.y).toHaveLength(12);
  expect(series[0]?.smooth).toHaveLength(12);
  expect(new Set(curves.metrics.never?.[0]?.y)).toEqual(new Set([null]));
  expect(await status(under('curves?metrics=../x'))).toBe(400);
  expect(await status(under('curves?metrics=kl&from=5&to=5'))).toBe(400);
  expect(await status(under('curves?metrics=kl&points=100000'))).toBe(400);
});

test('the CSV holds every step', async () => {
  const text = await (await ask(under('curves.csv?metrics=reward_mean,kl'))).text();
  const lines = text.trimEnd().split('\n');
  expect(lines[0]).toBe('global_step,phase,step,attempt,reward_mean,kl');
  expect(lines).toHaveLength(61);
  expect(lines[21]).toMatch(/^21,iteration-1\/reasoner,1,1,/);
});

test('rollouts are filtered, ordered and joined with their samples', async () => {
  const all = await answer<RolloutPage>(under('rollouts?limit=100'));
  expect(all.total).toBe(256);
  expect(all.steps).toEqual({ 'iteration-1/perceiver': [1, 20], 'iteration-1/reasoner': [1, 10] });
  expect(all.rollouts[0]?.phase).toBe('iteration-1/reasoner');
  const right = await answer<RolloutPage>(under('rollouts?correct=true&limit=1'));
  const wrong = await answer<RolloutPage>(under('rollouts?correct=false&limit=1'));
  expect(right.total + wrong.total).toBe(all.total);
  const ordered = await answer<RolloutPage>(
    under('rollouts?phase=iteration-1/perceiver&order=iou&descending=false&limit=100'),
  );
  const overlaps = ordered.rollouts.map(({ iou }) => iou ?? 0);
  expect(overlaps).toEqual([...overlaps].sort((a, b) => a - b));
  const split = await answer<RolloutPage>(under('rollouts?disagreement_min=0.01&limit=100'));
  expect(split.total).toBeLessThan(all.total);
  expect(split.rollouts.every(({ disagreement }) => (disagreement ?? 0) >= 0.01)).toBe(true);
  const [first] = ordered.rollouts;
  expect(first?.sample?.kind).toBe('letter');
  expect(first?.completion).not.toBe('');
  expect(first?.crops).toHaveLength(Math.min(3, first?.boxes.length ?? 0));
  const kinds = await answer<RolloutPage>(under('rollouts?kind=same&limit=100'));
  expect(kinds.total).toBeGreaterThan(0);
  expect(kinds.rollouts.every(({ sample }) => sample?.kind === 'same')).toBe(true);
  const injected = await answer<RolloutPage>(under(`rollouts?kind=${encodeURIComponent("' OR 1=1 --")}`));
  expect(injected.total).toBe(0);
});

test('evaluations: tables, pairs and one sample over the checkpoints agree with one another', async () => {
  const { rows } = await answer<EvaluationPage>(under('evaluation'));
  expect(rows.map(({ checkpoint, strategy }) => `${checkpoint}/${strategy}`)).toEqual([
    'base/direct',
    'base/p2r',
    'iteration-1-perceiver/p2r',
    'iteration-1-reasoner/p2r',
    'iteration-2-perceiver/p2r',
    'iteration-2-reasoner/p2r',
  ]);
  const [base, , , , , last] = rows;
  const { attribution } = last ?? {};
  expect(Object.values(attribution ?? {}).reduce((sum, count) => sum + count, 0)).toBe(last?.count);
  expect((attribution?.hit_right ?? 0) + (attribution?.miss_right ?? 0)).toBe(last?.correct);
  const pair = await answer<PairedView>(
    under('pairs?a=evaluation/base:direct&b=evaluation/iteration-2-reasoner:p2r'),
  );
  expect(pair.count).toBe(base?.count);
  expect(pair.difference).toBeCloseTo((last?.accuracy ?? 0) - (base?.accuracy ?? 0), 12);
  expect(pair.changed).toHaveLength(pair.only_a + pair.only_b);
  expect(await status(under('pairs?a=evaluation/base:direct&b=nothing:p2r'))).toBe(404);
  const id = pair.changed[0]?.sample_id ?? '';
  const history = await answer<SampleHistory>(under(`predictions?sample=${id}`));
  expect(history.predictions).toHaveLength(rows.length);
});

test('nothing went wrong on the way', () => expect(said).toEqual([]));
