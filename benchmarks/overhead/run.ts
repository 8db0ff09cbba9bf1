/**
 * What the platform adds to a training phase: the same phase under the platform (Temporal, worker, model server, reward service over HTTP,
 * leases, heartbeats) and with the bare engine, whose rewards come from a table in its own process. Both get every verdict from what an
 * earlier run judged, so that the frozen model's time is in neither; both must end with the same weights, byte for byte.
 *
 * `npm run bench:overhead [-- --steps N] [--home DIR] [--json]`
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

/** What the platform starts engines with (activities/environment.ts), so that memory is managed alike. */
const ENGINE_ENV = {
  PYTHONPATH: path.join(PROJECT, 'engines'),
  HF_HUB_OFFLINE: '1',
  TOKENIZERS_PARALLELISM: 'false',
  MALLOC_MMAP_THRESHOLD_: '4294967296',
  MALLOC_TRIM_THRESHOLD_: '8589934592',
  MALLOC_TOP_PAD_: '67108864',
  OMP_NUM_THREADS: '2',
};

const { values } = parseArgs({
  options: {
    steps: { type: 'string', default: '10' },
    home: { type: 'string' },
    json: { type: 'boolean', default: false },
  },
});
const steps = Number(values.steps);
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
const plan = JSON.parse(
  await p2r('rerun', EXPERIMENT, '--from', PHASE, '--again', '--plan', '--json'),
) as PlannedStep[];
const key = plan.find(({ id }) => id === PHASE)?.key ?? '';
const first = JSON.parse(await readFile(store.experimentFile(EXPERIMENT), 'utf8')).phases[0].key as string;
await mkdir(store.phase(key), { recursive: true });
await cp(path.join(store.phase(first), 'judgements.jsonl'), path.join(store.phase(key), 'judgements.jsonl'));

say('under the platform');
await p2r('rerun', EXPERIMENT, '--from', PHASE, '--again', '--json');
const events = await readEvents(store, EXPERIMENT);
const phaseSeconds = between(events, key, 'phase-started', 'phase-completed');
const attempt = (await listAttempts(store, key)).at(-1) ?? 1;
const job = await readJson(path.join(store.attempt(key, attempt), 'job.json'), Job);
if (job === null) throw new Error('The phase under the platform left no job.json.');
await p2r('down');

say('the bare engine');
const bare = path.join(home, 'bare');
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
const bareSeconds = (performance.now() - started) / 1000;

const weights = (directory: string) =>
  sha256File(
    path.join(directory, 'checkpoints', `step-${String(steps).padStart(6, '0')}`, 'model.safetensors'),
  );
const sameWeights = (await weights(store.phase(key))) === (await weights(bare));
const result = {
  steps,
  platform_seconds: phaseSeconds,
  bare_seconds: bareSeconds,
  ratio: phaseSeconds / bareSeconds,
  same_weights: sameWeights,
};
if (values.json) process.stdout.write(`${JSON.stringify(result, null, 2)}\n`);
else
  process.stdout.write(
    `${steps} steps: ${phaseSeconds.toFixed(1)} s under the platform, ${bareSeconds.toFixed(1)} s with the bare engine, ${((result.ratio - 1) * 100).toFixed(1)} % more; the weights are ${sameWeights ? 'the same, byte for byte' : 'NOT the same'}.\n`,
  );
if (values.home === undefined) await rm(home, { recursive: true, force: true });
process.exitCode = sameWeights ? 0 : 1;
