import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { EXAMPLE, storedRuns } from '../../test/support/stored-runs.ts';
import type {
  Curves,
  EvaluationPage,
  ExperimentList,
  PairedView,
  RolloutPage,
  SampleHistory,
  StrategyAnswers,
} from './api.ts';
import { createDashboard } from './app.ts';

const { run, names } = await storedRuns();
const EXPERIMENT = run.experiment;
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
  expect(experiments.map(({ experiment }) => experiment).sort()).toEqual(names);
  for (const { state, step, total_steps } of experiments) {
    expect(state).toBe('completed');
    expect(step).toBe(total_steps);
  }
  const shown = experiments.find(({ experiment }) => experiment === EXPERIMENT);
  const { rows } = await answer<EvaluationPage>(under('evaluation'));
  const byP2r = rows.filter(({ strategy }) => strategy === 'p2r');
  expect(shown?.best_accuracy).toBe(Math.max(...byP2r.map(({ accuracy }) => accuracy)));
  expect(shown?.base_accuracy).toBe(byP2r.find(({ checkpoint }) => checkpoint === 'base')?.accuracy);
  expect(shown?.base_accuracy).toBeLessThan(shown?.best_accuracy ?? 0);
});

test('curves come in columns, phase by phase, inside the window', async () => {
  const [first, second] = run.phases;
  const border = first?.total_steps ?? 0;
  const [from, to] = [border - 3, border + 2];
  const query = `curves?metrics=reward_mean,never&from=${from}&to=${to}&smooth=0.9`;
  const { metrics } = await answer<Curves>(under(query));
  const series = metrics.reward_mean ?? [];
  expect(series.map(({ phase }) => phase).slice(0, 2)).toEqual([first?.id, second?.id]);
  // One neighbour on each side of the window.
  expect(series[0]?.x).toEqual([from - 1, from, from + 1, from + 2, from + 3]);
  expect(series[1]?.x).toEqual([border + 1, border + 2, border + 3]);
  expect(series[0]?.y).toEqual((run.rows[0] ?? []).slice(-5).map(({ reward_mean }) => reward_mean));
  expect(series[0]?.smooth).toHaveLength(5);
  expect(metrics.never).toEqual([]);
  const part = await answer<Curves>(under(`curves?metrics=reward_mean&phases=${second?.id}`));
  expect(part.metrics.reward_mean?.map(({ phase }) => phase)).toEqual([second?.id]);
  expect(await status(under('curves?metrics=../x'))).toBe(400);
  expect(await status(under('curves?metrics=kl&from=5&to=5'))).toBe(400);
  expect(await status(under('curves?metrics=kl&points=100000'))).toBe(400);
});

test('the CSV holds every step', async () => {
  const text = await (await ask(under('curves.csv?metrics=reward_mean,kl'))).text();
  const lines = text.trimEnd().split('\n');
  expect(lines[0]).toBe('global_step,phase,step,attempt,reward_mean,kl');
  expect(lines).toHaveLength(1 + run.rows.reduce((sum, rows) => sum + rows.length, 0));
  const second = (run.rows[0]?.length ?? 0) + 1;
  expect(lines[second]?.startsWith(`${second},${run.phases[1]?.id},1,1,`)).toBe(true);
});

test('rollouts are filtered, ordered and joined with their samples', async () => {
  const all = await answer<RolloutPage>(under('rollouts?limit=100'));
  expect(all.total).toBe(run.rollouts);
  const kept = Object.keys(all.steps);
  expect(run.phases.map(({ id }) => id)).toEqual(expect.arrayContaining(kept));
  const newest = run.phases.findLast(({ id }) => kept.includes(id));
  expect(all.rollouts[0]?.phase).toBe(newest?.id);
  expect(all.steps[newest?.id ?? '']).toEqual([1, newest?.total_steps]);
  const right = await answer<RolloutPage>(under('rollouts?correct=true&limit=1'));
  const wrong = await answer<RolloutPage>(under('rollouts?correct=false&limit=1'));
  expect(right.total + wrong.total).toBe(all.total);
  const ordered = await answer<RolloutPage>(
    under(`rollouts?phase=${kept[0]}&order=iou&descending=false&limit=100`),
  );
  const overlaps = ordered.rollouts.map(({ iou }) => iou ?? 0);
  expect(overlaps).toEqual([...overlaps].sort((a, b) => a - b));
  const split = await answer<RolloutPage>(under('rollouts?disagreement_min=0.01&limit=100'));
  expect(split.total).toBeLessThan(all.total);
  expect(split.rollouts.every(({ disagreement }) => (disagreement ?? 0) >= 0.01)).toBe(true);
  const [first] = ordered.rollouts;
  expect(all.kinds).toContain(first?.sample?.kind);
  expect(first?.completion).not.toBe('');
  expect(first?.crops).toHaveLength(Math.min(3, first?.boxes.length ?? 0));
  const kind = all.kinds.at(-1) ?? '';
  const ofKind = await answer<RolloutPage>(under(`rollouts?kind=${encodeURIComponent(kind)}&limit=100`));
  expect(ofKind.total).toBeGreaterThan(0);
  expect(ofKind.rollouts.every(({ sample }) => sample?.kind === kind)).toBe(true);
  const injected = await answer<RolloutPage>(under(`rollouts?kind=${encodeURIComponent("' OR 1=1 --")}`));
  expect(injected.total).toBe(0);
});

test('evaluations: tables, pairs and one sample over the checkpoints agree with one another', async () => {
  const { rows } = await answer<EvaluationPage>(under('evaluation'));
  expect(rows.map(({ evaluation, strategy }) => `${evaluation}:${strategy}`).sort()).toEqual(
    run.evaluations
      .flatMap(({ id }, index) => (run.strategies[index] ?? []).map((one) => `${id}:${one}`))
      .sort(),
  );
  const own = rows.filter(({ strategy }) => strategy === 'p2r');
  const [base, last] = [own[0], own.at(-1)];
  const { attribution } = last ?? {};
  expect(Object.values(attribution ?? {}).reduce((sum, count) => sum + count, 0)).toBe(last?.count);
  expect((attribution?.hit_right ?? 0) + (attribution?.miss_right ?? 0)).toBe(last?.correct);
  const pair = await answer<PairedView>(under(`pairs?a=${base?.evaluation}:p2r&b=${last?.evaluation}:p2r`));
  expect(pair.count).toBe(base?.count);
  expect(pair.difference).toBeCloseTo((last?.accuracy ?? 0) - (base?.accuracy ?? 0), 12);
  expect(pair.changed).toHaveLength(pair.only_a + pair.only_b);
  expect(await status(under('pairs?a=evaluation/base:p2r&b=nothing:p2r'))).toBe(404);
  const several = run.evaluations[run.strategies.findIndex((strategies) => strategies.length > 1)];
  const answers = await answer<StrategyAnswers>(under(`answers?evaluation=${several?.id}`));
  expect(answers.patterns.reduce((sum, { samples }) => sum + samples.length, 0)).toBe(answers.samples);
  for (const [place, strategy] of answers.strategies.entries()) {
    const row = rows.find((one) => one.evaluation === several?.id && one.strategy === strategy);
    expect(answers.confusion[place]?.[place]).toBe(row?.correct);
  }
  expect(await status(under('answers?evaluation=nothing'))).toBe(404);
  const id = pair.changed[0]?.sample_id ?? '';
  const history = await answer<SampleHistory>(under(`predictions?sample=${id}`));
  expect(history.predictions).toHaveLength(rows.length);
});

test('nothing went wrong on the way', () => expect(said).toEqual([]));
