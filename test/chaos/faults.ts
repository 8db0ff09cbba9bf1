/** The faults: what each strikes, when it can, and how it is done. Everything goes through signals, files and ports, never through a hook of the platform. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { appendFile, open, readFile, rm, stat, statfs, truncate } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { datasetFiles, ownerDirectory, serviceFiles } from '../../activities/phase-files.ts';
import type { ProcessRecord } from '../../activities/processes.ts';
import { readServices } from '../../cli/services/state.ts';
import { committedSteps } from '../../store/checkpoints.ts';
import { writeFileAtomic } from '../../store/files.ts';
import { type Look, PROJECT, type Stack, type Target } from './stack.ts';

/** What a fault works with. `random` is uniform in [0, 1) and follows from the seed. */
export type Scene = { stack: Stack; look: Look; random: () => number };

/** One kind of fault. `inject` resolves when its cause is gone again (a process stays dead, a file damaged). */
export type Fault = {
  name: string;
  /** How often it is in a deck. */
  weight: number;
  applies(look: Look, stack: Stack): boolean;
  inject(scene: Scene): Promise<void>;
};

/** The server times an activity out after 10 s without a heartbeat (workflows/proxies.ts); outages last longer. */
const OUTAGE_MS = 13_000;

const TARGETS: Target[] = ['worker', 'trainer', 'model server', 'reward service', 'dashboard', 'temporal'];
const KILL_WEIGHTS: Record<Target, number> = {
  worker: 3,
  trainer: 4,
  'model server': 2,
  'reward service': 2,
  dashboard: 1,
  temporal: 2,
};

const has =
  (...targets: Target[]) =>
  (look: Look) =>
    targets.every((target) => look.alive[target] !== undefined);

/** Whether a phase trains that has at least `steps` committed steps behind it. */
const trains =
  (steps: number) =>
  (look: Look): boolean =>
    look.part?.kind === 'phase' && look.alive.trainer !== undefined && look.part.step >= steps;

function processOf(look: Look, target: Target): ProcessRecord {
  const found = look.alive[target];
  if (found === undefined) throw new Error(`There is no ${target} to strike.`);
  return found;
}

/** Signals a process; one that has ended meanwhile is no error. */
function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

function struckBy(
  name: 'SIGKILL' | 'SIGTERM',
  label: string,
  weights: Partial<Record<Target, number>>,
): Fault[] {
  return TARGETS.filter((target) => weights[target] !== undefined).map((target) => ({
    name: `${target}: ${label}`,
    weight: weights[target] ?? 1,
    applies: has(target),
    inject: async ({ look }) => signal(processOf(look, target).pid, name),
  }));
}

/** Stops a process for a while; all of its group where it has one of its own. */
function frozen(target: Target, ms: number, what: string): Fault {
  return {
    name: `${target}: ${what}`,
    weight: 1,
    applies: has(target),
    inject: async ({ look }) => {
      const { pid } = processOf(look, target);
      signal(pid, 'SIGSTOP');
      await sleep(ms);
      signal(pid, 'SIGCONT');
    },
  };
}

/** Flips one bit, or cuts the second half off. */
async function damage(file: string, how: 'flip' | 'cut', random: () => number): Promise<void> {
  const { size } = await stat(file);
  if (how === 'cut') return truncate(file, Math.floor(size / 2));
  const handle = await open(file, 'r+');
  try {
    const at = Math.floor(random() * size);
    const byte = Buffer.alloc(1);
    await handle.read(byte, 0, 1, at);
    byte[0] = (byte[0] ?? 0) ^ (1 << Math.floor(random() * 8));
    await handle.write(byte, 0, 1, at);
    await handle.datasync();
  } finally {
    await handle.close();
  }
}

const partKey = (look: Look): string => {
  if (look.part === null) throw new Error('Nothing runs at the moment.');
  return look.part.key;
};

/** The newest checkpoint of the running phase is damaged, and the trainer must start again. */
function damagedCheckpoint(how: 'flip' | 'cut'): Fault {
  return {
    name: `checkpoint: ${how === 'flip' ? 'one bit flipped' : 'truncated'}, trainer killed`,
    weight: 1,
    applies: trains(2),
    inject: async ({ stack, look, random }) => {
      const key = partKey(look);
      signal(processOf(look, 'trainer').pid, 'SIGKILL');
      const step = (await committedSteps(stack.store, key)).at(-1);
      if (step === undefined) return;
      await damage(path.join(stack.store.checkpoint(key, step), 'model.safetensors'), how, random);
    },
  };
}

/** The checkpoint that plays the frozen role is damaged, and its server must start again. */
const damagedFrozen: Fault = {
  name: 'served checkpoint: one bit flipped, server killed',
  weight: 1,
  applies: (look) =>
    look.part?.kind === 'phase' &&
    !look.part.id.startsWith('iteration-1/perceiver') &&
    has('model server')(look),
  inject: async ({ stack, look, random }) => {
    const plan = (await stack.phases()).find(({ key }) => key === partKey(look));
    if (plan?.frozen.kind !== 'phase') return;
    const { phase, step } = plan.frozen;
    await damage(path.join(stack.store.checkpoint(phase, step), 'model.safetensors'), 'flip', random);
    signal(processOf(look, 'model server').pid, 'SIGKILL');
  },
};

async function newestMetricsFile(stack: Stack, look: Look): Promise<string | null> {
  const record = await stack.trainerRecord(partKey(look));
  if (record === null) return null;
  const file = path.join(path.dirname(record), 'metrics.jsonl');
  return existsSync(file) ? file : null;
}

/** The last line of the curve loses its second half; the trainer dies of what did that. */
const tornMetrics: Fault = {
  name: 'metrics: last line torn, trainer killed',
  weight: 1,
  applies: trains(1),
  inject: async ({ stack, look }) => {
    signal(processOf(look, 'trainer').pid, 'SIGKILL');
    const file = await newestMetricsFile(stack, look);
    if (file === null) return;
    const text = await readFile(file, 'utf8');
    const line = text.lastIndexOf('\n', text.length - 2) + 1;
    await truncate(file, Buffer.byteLength(text.slice(0, line + Math.floor((text.length - line) / 2))));
  },
};

/** One bit of the curve flips while the trainer goes on. */
const flippedMetrics: Fault = {
  name: 'metrics: one bit flipped',
  weight: 1,
  applies: trains(1),
  inject: async ({ stack, look, random }) => {
    const file = await newestMetricsFile(stack, look);
    if (file !== null) await damage(file, 'flip', random);
  },
};

/** The training set is damaged, and the trainer must read it again. */
function damagedParquet(how: 'flip' | 'cut'): Fault {
  return {
    name: `training set: parquet ${how === 'flip' ? 'with one bit flipped' : 'truncated'}, trainer killed`,
    weight: 1,
    applies: trains(1),
    inject: async ({ stack, look, random }) => {
      signal(processOf(look, 'trainer').pid, 'SIGKILL');
      await damage(datasetFiles(stack.store, partKey(look)).training, how, random);
    },
  };
}

/** The newest rollouts are cut in half: nothing is computed from them, and nothing may stumble over them. */
const damagedRollouts: Fault = {
  name: 'rollouts: parquet truncated',
  weight: 1,
  applies: trains(1),
  inject: async ({ stack, look, random }) => {
    const key = partKey(look);
    const step = (await committedSteps(stack.store, key)).at(-1) ?? 1;
    const file = path.join(stack.store.rollouts(key), `step-${String(step).padStart(6, '0')}.parquet`);
    if (existsSync(file)) await damage(file, 'cut', random);
  },
};

/** Fills the home's own file system to its last byte, until the phase waits at its gate or `OUTAGE_MS` have passed. */
const fullDisk: Fault = {
  name: 'disk full',
  weight: 1,
  applies: (look, stack) => stack.ownDisk && trains(0)(look),
  inject: async ({ stack }) => {
    const ballast = path.join(stack.home, 'ballast');
    await fill(ballast);
    try {
      const deadline = Date.now() + OUTAGE_MS;
      while (Date.now() < deadline && (await stack.look()).progress.state !== 'waiting') {
        await sleep(300);
        await fill(ballast);
      }
    } finally {
      await rm(ballast, { force: true });
    }
  },
};

/** Appends to `file` until nothing is free. */
async function fill(file: string): Promise<void> {
  for (;;) {
    const { bavail, bsize } = await statfs(path.dirname(file));
    if (bavail === 0) return;
    const bytes = Math.min(bavail * bsize, 1 << 26);
    try {
      await appendFile(file, Buffer.alloc(bytes));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
      return;
    }
  }
}

/** Puts a server that hangs (and then drops its connections) or answers 500 in front of an endpoint, for `ms`. */
function badEndpoint(
  target: 'model server' | 'reward service',
  how: 'hangs' | 'answers 500',
  ms: number,
): Fault {
  return {
    name: `${target}: endpoint ${how}`,
    weight: 1,
    applies: has(target),
    inject: async ({ stack, look }) => {
      const files = serviceFiles(ownerDirectory(stack.store, partKey(look)));
      const file = target === 'model server' ? files.modelEndpoint : files.rewardEndpoint;
      const before = await readFile(file, 'utf8').catch(() => null);
      if (before === null) return;
      const server = createServer((_, response) => {
        if (how === 'answers 500') response.writeHead(500).end('{"error": "injected"}');
      });
      const url = await listening(server);
      const endpoint = JSON.parse(before) as { url: string };
      const proxied = `${url}${new URL(endpoint.url).pathname.replace(/\/$/, '')}`;
      const during = JSON.stringify({ ...endpoint, url: proxied, urls: [proxied] });
      await writeFileAtomic(file, during, 0o600);
      await sleep(ms);
      // A server that was started again meanwhile has written its own address.
      if ((await readFile(file, 'utf8').catch(() => null)) === during)
        await writeFileAtomic(file, before, 0o600);
      server.closeAllConnections();
      server.close();
    },
  };
}

async function listening(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A second worker of the home, as somebody might start it by mistake. */
async function secondWorker(stack: Stack): Promise<ChildProcess> {
  const services = await readServices(stack.store);
  const main = path.join(PROJECT, 'cli', 'services', 'worker-main.ts');
  const child = spawn(process.execPath, [main, stack.home, services?.temporal.address ?? ''], {
    cwd: PROJECT,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  await new Promise<void>((resolve) => {
    child.stderr?.on('data', (text: Buffer) => String(text).includes('RUNNING') && resolve());
    child.once('exit', () => resolve());
    setTimeout(resolve, OUTAGE_MS).unref();
  });
  return child;
}

/** Two workers; the first dies, the second takes over, and dies as well. */
const twoWorkers: Fault = {
  name: 'two workers, first one and then the other killed',
  weight: 1,
  applies: has('worker'),
  inject: async ({ stack, look }) => {
    const second = await secondWorker(stack);
    signal(processOf(look, 'worker').pid, 'SIGKILL');
    await sleep(OUTAGE_MS);
    second.kill('SIGKILL');
  },
};

/** Two workers; the first is frozen until its work has passed to the second, and wakes up. */
const wakingWorker: Fault = {
  name: 'two workers, the first frozen and woken up',
  weight: 1,
  applies: has('worker'),
  inject: async ({ stack, look }) => {
    const second = await secondWorker(stack);
    const { pid } = processOf(look, 'worker');
    signal(pid, 'SIGSTOP');
    await sleep(OUTAGE_MS + 2000);
    signal(pid, 'SIGCONT');
    await sleep(3000);
    second.kill('SIGTERM');
  },
};

/** The supervisor dies; its children are orphans until the user starts the services again. */
const supervisorKilled: Fault = {
  name: 'supervisor: kill -9, then p2r up',
  weight: 1,
  applies: has('worker', 'temporal'),
  inject: async ({ stack }) => {
    const services = await readServices(stack.store);
    if (services !== null) signal(services.supervisor.pid, 'SIGKILL');
    await stack.p2r('up');
  },
};

/** Every kind of fault. */
export const FAULTS: Fault[] = [
  ...struckBy('SIGKILL', 'kill -9', KILL_WEIGHTS),
  ...struckBy('SIGTERM', 'SIGTERM', {
    worker: 1,
    trainer: 1,
    'model server': 1,
    'reward service': 1,
    temporal: 1,
  }),
  frozen('worker', OUTAGE_MS, 'frozen beyond its heartbeat'),
  frozen('trainer', 4000, 'frozen for 4 s'),
  frozen('model server', 4000, 'frozen for 4 s'),
  frozen('reward service', 4000, 'frozen for 4 s'),
  {
    name: 'model server: frozen for good',
    weight: 1,
    applies: has('model server'),
    inject: async ({ look }) => signal(processOf(look, 'model server').pid, 'SIGSTOP'),
  },
  {
    name: 'reward service: frozen for good',
    weight: 1,
    applies: has('reward service'),
    inject: async ({ look }) => signal(processOf(look, 'reward service').pid, 'SIGSTOP'),
  },
  frozen('temporal', OUTAGE_MS, 'away beyond the heartbeat'),
  fullDisk,
  damagedCheckpoint('flip'),
  damagedCheckpoint('cut'),
  damagedFrozen,
  tornMetrics,
  flippedMetrics,
  damagedParquet('flip'),
  damagedParquet('cut'),
  damagedRollouts,
  badEndpoint('model server', 'hangs', 5000),
  badEndpoint('model server', 'answers 500', 5000),
  badEndpoint('reward service', 'hangs', 5000),
  badEndpoint('reward service', 'answers 500', 5000),
  twoWorkers,
  wakingWorker,
  supervisorKilled,
];

/** Kinds that are known and cannot be injected, with the reason. */
export function impossibleFaults(ownDisk: boolean): { name: string; why: string }[] {
  return [
    {
      name: 'clock jump',
      why: 'a jump of the system clock strikes every process of the machine, and one process alone cannot be given another clock without libfaketime',
    },
    ...(ownDisk
      ? []
      : [{ name: 'disk full', why: 'a small file system can be mounted by root on Linux only' }]),
  ];
}
