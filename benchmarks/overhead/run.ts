/**
 * What the platform adds to a training phase: the same phase under the platform (Temporal, worker, model server, reward service over HTTP,
 * leases, heartbeats) and with the bare engine, whose rewards come from a table in its own process. Both get the training set and every
 * verdict from an earlier run, so that resizing images and the frozen model's time are in neither; both must end with the same weights, byte
 * for byte. The two take turns, as a machine is not the same from one minute to the next.
 *
 * `npm run bench:overhead [-- --steps N] [--rounds N] [--home DIR] [--json]`
 */
import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { parseArgs, promisify } from 'node:util';
import { z } from 'zod';
import { type ExperimentEvent, readEvents } from '../../store/experiments.ts';
import { readJson, sha256File, writeFileAtomic, writeJson } from '../../store/files.ts';
import { openStore } from '../../store/layout.ts';
import { listAttempts } from '../../store/metrics.ts';
import type { PlannedStep } from '../../store/reuse.ts';

const PROJECT = path.resolve(import.meta.dirname, '..', '..');

/** What the platform starts engines with (activities/environment.ts), so that memory and threads are managed alike. */
const ENGINE_ENV = {
  PYTHONPATH: path.join(PROJECT, 'engines'),
  HF_HUB_OFFLINE: '1',
  TOKENIZERS_PARALLELISM: 'false',
  MALLOC_MMAP_THRESHOLD_: '4294967296',
  MALLOC_TRIM_THRESHOLD_: '8589934592',
  MALLOC_TOP_PAD_: '67108864',
  OMP_WAIT_POLICY: 'PASSIVE',
  OMP_NUM_THREADS: '2',
};

const { values } = parseArgs({
  options: {
    steps: { type: 'string', default: '10' },
    rounds: { type: 'string', default: '3' },
    home: { type: 'string' },
    json: { type: 'boolean', default: false },
  },
});
const steps = Number(values.steps);
const rounds = Number(values.rounds);
const home = path.resolve(values.home ?? (await mkdtemp(path.join(os.tmpdir(), 'p2r-overhead-'))));
const store = openStore(home);
const run = promisify(execFile);
const EXPERIMENT = 'overhead';
const PHASE = 'iteration-1/perceiver';

async function p2r(...args: string[]): Promise<string> {
  const { stdout } = await run(process.execPath, [path.join(PROJECT, 'cli', 'main.ts'), ...args], {
    cwd: PROJECT,
    env: { ...process.env, P2R_HOME: home },
    maxBuffer: 1 << 26,
  });
  return stdout;
}

const say = (line: string) => process.stderr.write(`${line}\n`);

/** The quickstart's perceiver phase, with other steps and next to no evaluation. */
const study = path.join(home, 'overhead.ts');
await writeFileAtomic(
  study,
  `import { defineStudy } from '${PROJECT}/studies/study.ts';
import quickstart from '${PROJECT}/studies/tiny-quickstart.ts';

export default defineStudy({
  ...quickstart,
  name: 'overhead',
  title: 'What the platform adds to a phase',
  schedule: ['perceiver'],
  perceiver: { ...quickstart.perceiver, total_steps: ${steps} },
  evaluation: { ...quickstart.evaluation, scenes: 2, strategies: ['p2r'] },
});
`,
);

/** Seconds between two events of the phase under a key. */
function between(events: ExperimentEvent[], key: string, from: string, to: string): number {
  const at = (type: string) =>
    Date.parse(events.findLast((event) => event.type === type && event.key === key)?.time ?? '');
  return (at(to) - at(from)) / 1000;
}

const Job = z.looseObject({
  phase_dir: z.string(),
  lease: z.object({ file: z.string(), token: z.number() }),
});

say(`judging ${steps} steps once (${home})`);
await p2r('run', study, '--as', EXPERIMENT, '--json');
const first = JSON.parse(await readFile(store.experimentFile(EXPERIMENT), 'utf8')).phases[0].key as string;

/** Trains the phase once more under the platform, with the training set and the verdicts of the first time. */
async function underThePlatform(): Promise<{ key: string; job: z.infer<typeof Job>; seconds: number }> {
  const again = ['rerun', EXPERIMENT, '--from', PHASE, '--again', '--json'];
  const plan = JSON.parse(await p2r(...again, '--plan')) as PlannedStep[];
  const key = plan.find(({ id }) => id === PHASE)?.key ?? '';
  await mkdir(store.phase(key), { recursive: true });
  for (const name of ['judgements.jsonl', 'dataset'])
    await cp(path.join(store.phase(first), name), path.join(store.phase(key), name), { recursive: true });
  await p2r(...again);
  const seconds = between(await readEvents(store, EXPERIMENT), key, 'phase-started', 'phase-completed');
  const attempt = (await listAttempts(store, key)).at(-1) ?? 1;
  const job = await readJson(path.join(store.attempt(key, attempt), 'job.json'), Job);
  if (job === null) throw new Error('The phase under the platform left no job.json.');
  await p2r('down');
  return { key, job, seconds };
}

const bare = path.join(home, 'bare');

/** Does a job with the bare engine, its verdicts from a phase's rollouts; returns seconds. */
async function withTheBareEngine(job: z.infer<typeof Job>, key: string): Promise<number> {
  await rm(bare, { recursive: true, force: true });
  const attemptDirectory = path.join(bare, 'attempts', '1');
  await mkdir(attemptDirectory, { recursive: true });
  const leaseFile = path.join(bare, 'lease.json');
  await writeJson(leaseFile, { token: 1, owner: 'bare', since: new Date().toISOString() });
  const jobFile = path.join(attemptDirectory, 'job.json');
  await writeJson(jobFile, { ...job, attempt: 1, phase_dir: bare, lease: { file: leaseFile, token: 1 } });
  const started = performance.now();
  await run(
    path.join(PROJECT, '.venv', 'bin', 'python'),
    [path.join(import.meta.dirname, 'bare.py'), jobFile, store.rollouts(key)],
    {
      cwd: PROJECT,
      env: { ...process.env, ...ENGINE_ENV },
      maxBuffer: 1 << 26,
    },
  );
  return (performance.now() - started) / 1000;
}

const weights = (directory: string) =>
  sha256File(
    path.join(directory, 'checkpoints', `step-${String(steps).padStart(6, '0')}`, 'model.safetensors'),
  );
const pairs: { platform_seconds: number; bare_seconds: number; same_weights: boolean }[] = [];
for (let round = 1; round <= rounds; round++) {
  say(`round ${round} of ${rounds}: under the platform`);
  const { key, job, seconds } = await underThePlatform();
  say(`round ${round} of ${rounds}: the bare engine (the platform took ${seconds.toFixed(1)} s)`);
  const bareSeconds = await withTheBareEngine(job, key);
  const same = (await weights(store.phase(key))) === (await weights(bare));
  pairs.push({ platform_seconds: seconds, bare_seconds: bareSeconds, same_weights: same });
}
const sum = (of: 'platform_seconds' | 'bare_seconds') => pairs.reduce((all, pair) => all + pair[of], 0);
const ratio = sum('platform_seconds') / sum('bare_seconds');
const sameWeights = pairs.every(({ same_weights }) => same_weights);
if (values.json) process.stdout.write(`${JSON.stringify({ steps, pairs, ratio }, null, 2)}\n`);
else {
  for (const { platform_seconds, bare_seconds } of pairs)
    process.stdout.write(
      `${steps} steps: ${platform_seconds.toFixed(1)} s under the platform, ${bare_seconds.toFixed(1)} s with the bare engine\n`,
    );
  process.stdout.write(
    `${((ratio - 1) * 100).toFixed(1)} % more under the platform; the weights are ${sameWeights ? 'the same, byte for byte' : 'NOT the same'}.\n`,
  );
}
if (values.home === undefined) await rm(home, { recursive: true, force: true });
process.exitCode = sameWeights ? 0 : 1;
