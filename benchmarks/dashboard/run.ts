/**
 * `npm run bench:dashboard`: the dashboard's speed in Chromium, on 20 runs of 50,000 steps of 12 metrics and 100,000 rollouts, made in a
 * temporary folder. The server is a process of its own, started anew for every cold measurement. Prints a table with the goals; a goal
 * that is missed is said, and fails nothing.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { appendFile, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import Table from 'cli-table3';
import { type Browser, chromium, type Page } from 'playwright-core';
import { openStore } from '../../store/layout.ts';
import { METRICS, metricsLine, nameOf, phaseKey, SIZE, SPIKE, type Spike, writeHome } from './home.ts';

const PROJECT = path.resolve(import.meta.dirname, '..', '..');
const LIVE = nameOf(1);
/** Steps of an hour of training, one every ten seconds. */
const HOUR_OF_STEPS = 360;
const ZOOMS = 20;
/** A page that has loaded, or has drawn the last step, is left alone for this long before its memory is looked at. */
const SETTLE_MS = 5000;
const EXECUTABLE = process.env.P2R_CHROMIUM ?? '/usr/bin/chromium';

type Row = { what: string; goal: string; measured: string; met: boolean | null };
const rows: Row[] = [];
const add = (what: string, value: number, limit: number | null, unit: string) =>
  rows.push({
    what,
    goal: limit === null ? '' : `< ${limit} ${unit}`,
    measured: `${value < 10 && !Number.isInteger(value) ? value.toFixed(2) : Math.round(value)} ${unit}`,
    met: limit === null ? null : value < limit,
  });

/** Says where the measurement is. */
const say = (what: string) => console.log(`${what} …`);

const median = (values: number[]) =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;

type Server = { url: string; child: ChildProcess };

async function startServer(home: string): Promise<Server> {
  const ready = path.join(home, 'services', 'dashboard.json');
  await rm(ready, { force: true });
  const child = spawn(
    process.execPath,
    [path.join(PROJECT, 'cli', 'services', 'dashboard-main.ts'), '--home', home, '--ready-file', ready],
    { stdio: ['ignore', 'ignore', 'inherit'] },
  );
  while (!existsSync(ready)) await sleep(10);
  return { url: (JSON.parse(await readFile(ready, 'utf8')) as { url: string }).url, child };
}

async function stopServer({ child }: Server): Promise<void> {
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  await ended;
}

async function newPage(browser: Browser): Promise<Page> {
  // The policy against evaluated text would forbid the questions below, which are texts.
  return (await browser.newContext({ viewport: { width: 1280, height: 900 }, bypassCSP: true })).newPage();
}

/** Milliseconds from `start` until the page says so; the page looks at every frame. */
async function until(page: Page, start: number, look: string): Promise<number> {
  const at = await page.waitForFunction(`(${look}) && Date.now()`, null, { polling: 'raf', timeout: 60_000 });
  return Number(await at.jsonValue()) - start;
}

const chart = (metric: string) => `document.querySelector('[data-metric="${metric}"] .plot')`;
const drawnPoints = (metric: string) =>
  `(${chart(metric)}?.data ?? []).reduce((sum, trace) => sum + trace.x.length, 0)`;

async function measure(home: string, spikes: Spike[]): Promise<void> {
  const browser = await openBrowser();
  try {
    say('first paint');
    await measureFirstPaint(browser, home);
    say('comparison');
    await measureComparison(browser, home);
    const server = await startServer(home);
    try {
      say('spikes');
      await measureSpikes(server.url, spikes);
      const page = await newPage(browser);
      say('zoom');
      await measureZoom(page, server.url);
      say('live');
      const { append } = await measureLive(page, server.url, home);
      await page.context().close();
      say('memory');
      await measureMemory(server.url, append);
      say('rollouts');
      await measureFilter(browser, server.url);
    } finally {
      await stopServer(server);
    }
  } finally {
    await browser.close();
  }
}

async function measureFirstPaint(browser: Browser, home: string): Promise<void> {
  let begin = Date.now();
  let server = await startServer(home);
  add('server ready after its start', Date.now() - begin, null, 'ms');
  let page = await newPage(browser);
  begin = Date.now();
  await page.goto(server.url, { waitUntil: 'commit' });
  add(
    `first useful paint, list of ${SIZE.runs} runs, cold`,
    await until(page, begin, `document.querySelectorAll('tbody tr').length === ${SIZE.runs}`),
    1000,
    'ms',
  );
  await page.context().close();
  await stopServer(server);

  server = await startServer(home);
  for (const heat of ['cold', 'warm']) {
    page = await newPage(browser);
    begin = Date.now();
    await page.goto(`${server.url}/experiments/${nameOf(2)}`, { waitUntil: 'commit' });
    add(
      `first useful paint, curves of one run (12 charts), ${heat}`,
      await until(page, begin, `${drawnPoints('reward_mean')} > 0`),
      1000,
      'ms',
    );
    await page.context().close();
  }
  await stopServer(server);
}

async function measureComparison(browser: Browser, home: string): Promise<void> {
  const server = await startServer(home);
  const runs = Array.from({ length: SIZE.runs }, (_, index) => nameOf(index + 1));
  for (const heat of ['cold', 'warm']) {
    const page = await newPage(browser);
    const begin = Date.now();
    await page.goto(`${server.url}/compare?metric=reward_mean&runs=${runs.join(',')}`, {
      waitUntil: 'commit',
    });
    const first = await until(page, begin, `${drawnPoints('reward_mean')} > 100`);
    const all = await until(
      page,
      begin,
      `(${chart('reward_mean')}?.data ?? []).filter(trace => trace.x.length > 100).length === ${SIZE.runs}`,
    );
    add(`one metric of ${SIZE.runs} runs, first run painted, ${heat}`, first, 1000, 'ms');
    add(
      `one metric of ${SIZE.runs} runs, all painted, ${heat} (TensorBoard: 2,800 to 7,400 ms)`,
      all,
      null,
      'ms',
    );
    await page.context().close();
  }
  await stopServer(server);
}

type Answer = { metrics: Record<string, { x: number[]; y: (number | null)[] }[]> };

/** Asks as the page does and looks for every spike: in the whole run, and in windows of four widths around it. */
async function measureSpikes(url: string, spikes: Spike[]): Promise<void> {
  for (const width of [SIZE.steps, 20_000, 5000, 1000]) {
    let kept = 0;
    for (const { experiment, step } of spikes) {
      const from = Math.max(0, Math.min(SIZE.steps - width, Math.round(step - width * 0.37)));
      const address = `${url}/api/experiments/${experiment}/curves?metrics=kl&points=800&from=${from}&to=${from + width}`;
      const answer = (await (await fetch(address)).json()) as Answer;
      const found = answer.metrics.kl?.some(({ x, y }) =>
        x.some((at, n) => at === step && (y[n] ?? 0) > SPIKE / 2),
      );
      if (found) kept++;
    }
    rows.push({
      what: `one-step spikes kept in a window of ${width.toLocaleString('en')} steps (TensorBoard: 2 of 60)`,
      goal: `${spikes.length} of ${spikes.length}`,
      measured: `${kept} of ${spikes.length}`,
      met: kept === spikes.length,
    });
  }
}

async function measureZoom(page: Page, url: string): Promise<void> {
  await page.goto(`${url}/experiments/${nameOf(2)}`);
  await until(page, 0, `${drawnPoints('reward_mean')} > 0`);
  const answers: number[] = [];
  const redraws: number[] = [];
  for (let zoom = 0; zoom < ZOOMS; zoom++) {
    const from = 500 + zoom * 2100;
    const to = from + 4000;
    const answered = page.waitForResponse((response) => response.url().includes(`from=${from}`));
    const begin = await page.evaluate(
      ([low, high]) => {
        const next = new URL(location.href);
        next.searchParams.set('from', String(low));
        next.searchParams.set('to', String(high));
        const begin = Date.now();
        history.replaceState(null, '', next);
        dispatchEvent(new Event('popstate'));
        return begin;
      },
      [from, to] as const,
    );
    redraws.push(
      await until(
        page,
        begin,
        `(() => { const xs = (${chart('reward_mean')}?.data ?? []).flatMap(trace => trace.x); const [a, b] = [Math.min(...xs), Math.max(...xs)]; return xs.length > 0 && a >= ${from - 1} && b <= ${to + 1}; })()`,
      ),
    );
    const { responseEnd, requestStart } = (await answered).request().timing();
    answers.push(responseEnd - requestStart);
  }
  add('zoom answered by the server, 11 metrics, median', median(answers), 150, 'ms');
  add('zoom answered by the server, slowest', Math.max(...answers), 150, 'ms');
  add('zoom to the first chart redrawn with its detail, median', median(redraws), null, 'ms');
}

async function measureLive(page: Page, url: string, home: string): Promise<{ append: () => Promise<void> }> {
  const file = path.join(openStore(home).attempt(phaseKey(LIVE, 'reasoner'), 1), 'metrics.jsonl');
  let step = SIZE.steps / 2 - 1000;
  const append = () => {
    step++;
    return appendFile(
      file,
      metricsLine(
        step,
        METRICS.map(() => Math.random()),
      ),
    );
  };
  const shown = () =>
    `Math.max(0, ...(${chart('reward_mean')}?.data ?? []).flatMap(trace => trace.x.slice(-1))) >= ${SIZE.steps / 2 + step}`;
  await page.goto(`${url}/experiments/${LIVE}`);
  await until(page, 0, shown());
  const delays: number[] = [];
  for (let update = 0; update < 20; update++) {
    const begin = Date.now();
    await append();
    delays.push(await until(page, begin, shown()));
  }
  add('live step visible, median of 20', median(delays), 1000, 'ms');
  add('live step visible, slowest of 20', Math.max(...delays), 1000, 'ms');
  return { append };
}

/**
 * Memory of a live page after an hour of steps, in a Chromium of its own that nobody inspects: what reads a page's traffic keeps copies of
 * it in the page's process.
 */
async function measureMemory(url: string, append: () => Promise<void>): Promise<void> {
  const profile = await mkdtemp(path.join(os.tmpdir(), 'p2r-bench-chromium-'));
  const child = spawn(
    EXECUTABLE,
    [
      '--headless=new',
      '--no-sandbox',
      '--window-size=1280,900',
      `--user-data-dir=${profile}`,
      `${url}/experiments/${LIVE}`,
    ],
    { stdio: 'ignore' },
  );
  const ended = new Promise((resolve) => child.once('exit', resolve));
  try {
    await sleep(SETTLE_MS);
    add('memory of the page’s process at its start', await rendererMemory(child.pid ?? 0), null, 'MB');
    for (let update = 0; update < HOUR_OF_STEPS; update++) {
      await append();
      await sleep(80);
    }
    await sleep(SETTLE_MS);
    const memory = await rendererMemory(child.pid ?? 0);
    add(`memory after ${HOUR_OF_STEPS} live steps (an hour, sped up)`, memory, 400, 'MB');
  } finally {
    child.kill('SIGTERM');
    await ended;
    await rm(profile, { recursive: true, force: true });
  }
}

/** Resident memory of the largest renderer among a Chromium's processes, in MB. */
async function rendererMemory(root: number): Promise<number> {
  const own = new Set([root]);
  let largest = 0;
  // Parents have lower numbers than their children, save where numbers have begun anew.
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
  for (const pid of pids.sort((a, b) => a - b)) {
    const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
    if (!own.has(Number(/^PPid:\s+(\d+)/m.exec(status)?.[1]))) continue;
    own.add(pid);
    const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    if (command.includes('--type=renderer'))
      largest = Math.max(largest, Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1000);
  }
  return largest;
}

async function measureFilter(browser: Browser, url: string): Promise<void> {
  const page = await newPage(browser);
  const total = (count: string) => `Number(document.querySelector('.gallery')?.dataset.total ?? 0) ${count}`;
  let begin = Date.now();
  await page.goto(`${url}/experiments/${LIVE}/samples`, { waitUntil: 'commit' });
  add(
    `first look at ${SIZE.rollouts.toLocaleString('en')} rollouts in 1,563 files`,
    await until(page, begin, total(`=== ${SIZE.rollouts}`)),
    null,
    'ms',
  );
  const delays: number[] = [];
  let last = SIZE.rollouts;
  for (const [label, values] of [
    ['Verdict', ['true', 'false', '']],
    ['Hit', ['true', 'false', '']],
    ['Order', ['-iou', 'reward', '-disagreement']],
  ] as const) {
    for (const value of values) {
      begin = Date.now();
      await Promise.all([
        page.waitForResponse((response) => response.url().includes('/rollouts?')),
        page.getByRole('combobox', { name: label, exact: true }).selectOption(value),
      ]);
      if (label !== 'Order') await until(page, begin, total(`!== ${last}`));
      delays.push(Date.now() - begin);
      last =
        (await page.evaluate(() => Number(document.querySelector<HTMLElement>('.gallery')?.dataset.total))) ||
        0;
    }
  }
  add(
    `filter or order over all ${SIZE.rollouts.toLocaleString('en')} rollouts, median`,
    median(delays),
    500,
    'ms',
  );
  add('filter or order, slowest', Math.max(...delays), 500, 'ms');
  await page.context().close();
}

async function openBrowser(): Promise<Browser> {
  return chromium.launch({ executablePath: EXECUTABLE, args: ['--no-sandbox'] });
}

const home = await mkdtemp(path.join(os.tmpdir(), 'p2r-bench-dashboard-'));
try {
  const begin = Date.now();
  const spikes = await writeHome(home);
  console.log(`Made the runs in ${((Date.now() - begin) / 1000).toFixed(1)} s.`);
  await measure(home, spikes);
  const table = new Table({ head: ['what', 'goal', 'measured', ''], style: { head: [], border: [] } });
  for (const { what, goal, measured, met } of rows)
    table.push([what, goal, measured, met === null ? '' : met ? 'met' : 'MISSED']);
  console.log(table.toString());
  const [one = 0, five = 0] = os.loadavg();
  console.log(
    `${os.cpus().length} processors, load ${one.toFixed(1)} (1 min) and ${five.toFixed(1)} (5 min), Node ${process.versions.node}.`,
  );
} finally {
  await rm(home, { recursive: true, force: true });
}
