/** The supervisor: keeps Temporal's dev server, the worker and the dashboard up on loopback until SIGTERM. */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { PROJECT } from '../../activities/environment.ts';
import { describeProcess, type ProcessRecord } from '../../activities/processes.ts';
import { freePort } from '../../activities/serving.ts';
import { writeJson } from '../../store/files.ts';
import { openStore } from '../../store/layout.ts';
import { SEARCH_ATTRIBUTE_FLAGS } from '../../temporal.config.ts';
import { surviveFullDisk } from './output.ts';
import { readServices, type Services, servicesFile } from './state.ts';

surviveFullDisk();
const home = process.argv[2];
if (home === undefined) throw new Error('Usage: supervisor-main.ts HOME');
const store = openStore(home);
await mkdir(store.services, { recursive: true });

/** The port of an earlier start when it is free, so that addresses stay the same; else a free one. */
async function port(previous: string | undefined): Promise<number> {
  const wanted =
    previous === undefined
      ? Number.NaN
      : Number(new URL(previous.includes('://') ? previous : `http://${previous}`).port);
  if (Number.isInteger(wanted) && wanted > 0 && !(await listens(wanted))) return wanted;
  return freePort();
}

function listens(number: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(number, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

const earlier = await readServices(store).catch(() => null);
const external = process.env.TEMPORAL_ADDRESS;
const temporalPort = await port(earlier?.temporal.address);
const uiPort = await port(earlier?.temporal.ui ?? undefined);
const dashboardPort = await port(earlier?.dashboard.url);
const address = external ?? `127.0.0.1:${temporalPort}`;

const commands: Record<string, string[]> = {
  ...(external === undefined && {
    temporal: [
      path.join(PROJECT, '.venv', 'bin', 'temporal'),
      'server',
      'start-dev',
      '--ip',
      '127.0.0.1',
      '--port',
      String(temporalPort),
      '--ui-port',
      String(uiPort),
      '--db-filename',
      path.join(store.services, 'temporal.db'),
      '--sqlite-pragma',
      'journal_mode=wal',
      '--sqlite-pragma',
      'synchronous=normal',
      '--log-level',
      'warn',
      ...SEARCH_ATTRIBUTE_FLAGS.flatMap((flag) => ['--search-attribute', flag]),
    ],
  }),
  worker: [process.execPath, path.join(PROJECT, 'cli', 'services', 'worker-main.ts'), store.home, address],
  dashboard: [
    process.execPath,
    path.join(PROJECT, 'cli', 'services', 'dashboard-main.ts'),
    '--home',
    store.home,
    '--port',
    String(dashboardPort),
    '--ready-file',
    path.join(store.services, 'dashboard.json'),
  ],
};

const self = await describeProcess(process.pid, process.argv, path.join(store.services, 'supervisor.log'));
const services: Services = {
  supervisor: self,
  temporal: { address, ui: external === undefined ? `http://127.0.0.1:${uiPort}` : null },
  dashboard: { url: `http://127.0.0.1:${dashboardPort}` },
  children: {},
};
const children = new Map<string, ChildProcess>();
let stopping = false;

/** Keeps services.json true; while it cannot be written (the disk is full), again and again. */
async function record(name: string, entry: ProcessRecord): Promise<void> {
  services.children[name] = entry;
  while (!stopping) {
    try {
      await writeJson(servicesFile(store), services);
      return;
    } catch (error) {
      console.error(`services.json could not be written: ${error instanceof Error ? error.message : error}`);
      await sleep(1000);
    }
  }
}

/** A service's log, or null while no file can be made. */
function openLog(file: string): number | null {
  try {
    return openSync(file, 'a');
  } catch {
    return null;
  }
}

async function keepUp(name: string, command: string[]): Promise<void> {
  const [program, ...args] = command;
  if (program === undefined) return;
  for (let pause = 300; !stopping; ) {
    const log = path.join(store.services, `${name}.log`);
    const output = openLog(log) ?? ('ignore' as const);
    const started = Date.now();
    const child = spawn(program, args, { cwd: PROJECT, stdio: ['ignore', output, output] });
    children.set(name, child);
    const exited = new Promise<void>((resolve) => {
      child.once('exit', () => resolve());
      child.once('error', () => resolve());
    });
    if (typeof output === 'number') closeSync(output);
    if (child.pid !== undefined) void record(name, await describeProcess(child.pid, command, log));
    await exited;
    if (stopping) return;
    pause = Date.now() - started > 10_000 ? 300 : Math.min(5000, pause * 2);
    console.error(`${new Date().toISOString()} ${name} ended; it is started again in ${pause} ms`);
    await sleep(pause);
  }
}

/** Stops a child and waits for it. */
async function end(name: string, graceMs: number): Promise<void> {
  const child = children.get(name);
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), graceMs);
  await exited;
  clearTimeout(timer);
}

process.once('SIGTERM', async () => {
  stopping = true;
  await end('worker', 10_000);
  await Promise.all([end('dashboard', 3000), end('temporal', 10_000)]);
  await rm(servicesFile(store), { force: true });
  process.exit(0);
});

await Promise.all(Object.entries(commands).map(([name, command]) => keepUp(name, command)));
