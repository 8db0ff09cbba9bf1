/** Starting and stopping the services of a home. */
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Connection } from '@temporalio/client';
import { PROJECT } from '../../activities/environment.ts';
import { isAlive, launch, signalGroup, stop } from '../../activities/processes.ts';
import type { Store } from '../../store/layout.ts';
import { temporalTarget } from '../../temporal.config.ts';
import { EXIT, UserError } from '../errors.ts';
import { readServices, type Services } from './state.ts';

/** Usually four seconds; a machine that is busy with something else has taken more than a minute. */
const START_TIMEOUT_MS = 180_000;

/** The running services, or null. */
export async function runningServices(store: Store): Promise<Services | null> {
  const services = await readServices(store).catch(() => null);
  return services !== null && (await isAlive(services.supervisor)) ? services : null;
}

/** Starts what is not running and waits until Temporal and the dashboard answer. */
export async function up(store: Store): Promise<Services> {
  const running = await runningServices(store);
  if (running === null) {
    const stale = await readServices(store).catch(() => null);
    for (const child of Object.values(stale?.children ?? {}))
      if (await isAlive(child)) process.kill(child.pid, 'SIGKILL');
    await launch(path.join(store.services, 'supervisor.process.json'), {
      command: [process.execPath, path.join(PROJECT, 'cli', 'services', 'supervisor-main.ts'), store.home],
      cwd: PROJECT,
      log: path.join(store.services, 'supervisor.log'),
    });
  }
  const deadline = Date.now() + START_TIMEOUT_MS;
  while (Date.now() < deadline) {
    const services = await runningServices(store);
    if (services !== null && (await answers(services))) return services;
    await sleep(200);
  }
  throw new UserError(
    `The services did not come up within ${START_TIMEOUT_MS / 1000} s: look into the logs in ${store.services}.`,
    EXIT.unavailable,
  );
}

async function answers(services: Services): Promise<boolean> {
  const page = await fetch(new URL('/healthz', services.dashboard.url)).catch(() => null);
  if (page?.ok !== true) return false;
  const connection = await Connection.connect({
    ...temporalTarget(services.temporal.address).connection,
    connectTimeout: '1s',
  }).catch(() => null);
  await connection?.close();
  return connection !== null;
}

/** Stops the services, then every trainer (which commits a checkpoint first) and server that is left. */
export async function down(store: Store, say: (line: string) => void): Promise<void> {
  const services = await readServices(store).catch(() => null);
  if (services !== null && (await isAlive(services.supervisor))) {
    process.kill(services.supervisor.pid, 'SIGTERM');
    while (await isAlive(services.supervisor)) await sleep(100);
  }
  for (const child of Object.values(services?.children ?? {})) if (await isAlive(child)) signalPid(child.pid);
  const trainers = await records(store.phases, 'attempts', 'process.json');
  const servers = [
    ...(await records(store.phases, 'services', null)),
    ...(await records(store.evaluations, 'services', null)),
  ];
  // A trainer in the middle of a step still needs its rewards, and they the model.
  await Promise.all(
    trainers.map((file) =>
      stop(
        file,
        10 * 60_000,
        oncePer(5000, () => say('waiting for the trainer to finish its step and commit')),
      ),
    ),
  );
  await Promise.all(servers.map((file) => stop(file, 5000)));
}

function signalPid(pid: number): void {
  try {
    process.kill(pid, 'SIGTERM');
  } catch {
    signalGroup(pid, 'SIGTERM');
  }
}

function oncePer(ms: number, action: () => void): () => void {
  let last = 0;
  return () => {
    if (Date.now() - last < ms) return;
    last = Date.now();
    action();
  };
}

/** Process record files below every key directory: `<root>/<key>/services/*.process.json`, or `<root>/<key>/attempts/<n>/process.json`. */
async function records(
  root: string,
  folder: 'services' | 'attempts',
  name: string | null,
): Promise<string[]> {
  const list = (directory: string) => readdir(directory).catch(() => [] as string[]);
  const found: string[] = [];
  for (const key of await list(root)) {
    const directory = path.join(root, key, folder);
    for (const entry of await list(directory)) {
      if (name !== null) found.push(path.join(directory, entry, name));
      else if (entry.endsWith('.process.json')) found.push(path.join(directory, entry));
    }
  }
  return found;
}
