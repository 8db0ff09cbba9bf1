/**
 * `npm run chaos -- --faults N --seed S`: the same experiment twice, left alone and struck by N faults, and the proof that both end with the
 * same bytes. Writes the table of docs/reliability.md.
 */
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { z } from 'zod';
import { readEvents } from '../../store/experiments.ts';
import { readJson, readJsonLines, writeFileAtomic, writeJson } from '../../store/files.ts';
import { MetricRow } from '../../store/metrics.ts';
import { compare } from './compare.ts';
import { disturb, untilEnd } from './disturb.ts';
import { FAULTS, type Fault, impossibleFaults } from './faults.ts';
import { mountOwnDisk, unmountOwnDisk } from './home.ts';
import { type ChaosReport, complaints, faultTable, writeReport } from './report.ts';
import { PROJECT, Stack } from './stack.ts';
import { chaosStudy } from './study.ts';

const USAGE = `Usage: npm run chaos -- [--faults N] [--seed S] [--only TEXT]... [--work DIR] [--json]

Runs one small experiment undisturbed and once more under N faults at random moments, and compares the two.

  --faults N   how many faults (default 100, about an hour on two cores)
  --seed S     decides the faults' order and moments, and is the experiment's seed (default 1)
  --only TEXT  only kinds of fault whose name holds TEXT; the table in docs/reliability.md is left alone
  --work DIR   keep homes and report.json there; an undisturbed run that is there is used again
  --json       print the report as JSON

Example:
  npm run chaos -- --faults 10 --seed 2`;

const Options = z.object({
  faults: z.coerce.number().int().min(1).default(100),
  seed: z.coerce.number().int().min(0).default(1),
  only: z.array(z.string()).default([]),
  work: z.string().optional(),
  json: z.boolean().default(false),
  help: z.boolean().default(false),
});

function options(): z.infer<typeof Options> {
  try {
    const { values } = parseArgs({
      options: {
        faults: { type: 'string' },
        seed: { type: 'string' },
        only: { type: 'string', multiple: true },
        work: { type: 'string' },
        json: { type: 'boolean' },
        help: { type: 'boolean' },
      },
    });
    return Options.parse(values);
  } catch (error) {
    if (!(error instanceof z.ZodError) && !(error instanceof TypeError)) throw error;
    console.error(USAGE);
    process.exit(2);
  }
}

const { faults: count, seed, only, work, json, help } = options();
if (help) {
  console.log(USAGE);
  process.exit(0);
}
const kinds: Fault[] = FAULTS.filter(
  ({ name }) => only.length === 0 || only.some((text) => name.includes(text)),
);
if (kinds.length === 0) {
  console.error(
    `No fault's name holds "${only.join('" or "')}". There are: ${FAULTS.map(({ name }) => name).join('; ')}.`,
  );
  process.exit(2);
}

const say = (line: string) => console.error(line);
const EXPERIMENT = `chaos-${count}-seed${seed}`;
const root = work === undefined ? await mkdtemp(path.join(os.tmpdir(), 'p2r-chaos-')) : path.resolve(work);
await mkdir(root, { recursive: true });
const studyFile = path.join(root, 'study.ts');
await writeFileAtomic(studyFile, `export default ${JSON.stringify(chaosStudy(count), null, 2)};\n`);

/** Seconds from the start of the undisturbed experiment to its first end; a run that `--work` has already is used again. */
async function undisturbedRun(stack: Stack): Promise<number> {
  await stack.start(studyFile, seed);
  await untilEnd(stack, say);
  await stack.down();
  const events = await readEvents(stack.store, EXPERIMENT);
  const first = (type: string) => Date.parse(events.find((event) => event.type === type)?.time ?? '');
  return (first('experiment-completed') - first('experiment-started')) / 1000;
}

/** The longest time from a trainer's launch to the end of its first step. */
async function startSeconds(stack: Stack): Promise<number> {
  const starts: number[] = [];
  for (const { key } of (await stack.record()).phases) {
    const directory = stack.store.attempt(key, 1);
    const lease = await readJson(
      path.join(stack.store.phase(key), 'lease.json'),
      z.looseObject({ since: z.string() }),
    );
    const [first] = await readJsonLines(path.join(directory, 'metrics.jsonl'), MetricRow);
    if (lease !== null && first !== undefined) starts.push(first.time - Date.parse(lease.since) / 1000);
  }
  return Math.max(...starts);
}

const undisturbed = new Stack(path.join(root, 'undisturbed'), EXPERIMENT, false);
const home = path.join(root, 'disturbed');
const ownDisk = await mountOwnDisk(home);
const disturbed = new Stack(home, EXPERIMENT, ownDisk);
const impossible = impossibleFaults(ownDisk);
for (const { name, why } of impossible) say(`Not injected: ${name}: ${why}.`);

/** Stops what runs and gives the file system back. */
async function tidy(code: number): Promise<void> {
  for (const stack of [undisturbed, disturbed])
    await stack.down().catch((error: Error) => say(error.message));
  if (ownDisk && (code === 0 || work === undefined))
    await unmountOwnDisk(home).catch((error: Error) => say(error.message));
  if (work === undefined && code === 0) await rm(root, { recursive: true, force: true });
  else say(`Homes and report.json: ${root}`);
}

for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.once(signal, () => {
    say('Stopping …');
    void tidy(130).then(() => process.exit(130));
  });

let code = 1;
try {
  say('The experiment undisturbed …');
  const undisturbedSeconds = await undisturbedRun(undisturbed);
  say(`The experiment under ${count} faults …`);
  const started = Date.now();
  const disturbance = await disturb(disturbed, { study: studyFile, seed, faults: kinds, count, say });
  const disturbedSeconds = (Date.now() - started) / 1000;
  const left = await disturbed.down();
  const report: ChaosReport = {
    ...disturbance,
    seed,
    faults: count,
    date: new Date().toISOString().slice(0, 10),
    machine: `${os.cpus().length} cores, ${Math.round(os.totalmem() / 2 ** 30)} GiB`,
    startSeconds: await startSeconds(undisturbed),
    undisturbedSeconds,
    disturbedSeconds,
    impossible,
    comparison: await compare(undisturbed, disturbed),
    left,
  };
  await writeJson(path.join(root, 'report.json'), report);
  if (only.length === 0) await writeReport(path.join(PROJECT, 'docs', 'reliability.md'), report);
  const found = complaints(report);
  if (json) console.log(JSON.stringify(report, null, 2));
  else console.log(faultTable(report.outcomes));
  for (const complaint of found) say(`NOT HELD: ${complaint}`);
  if (found.length === 0) {
    say('Both runs ended with the same bytes.');
    code = 0;
  }
} finally {
  await tidy(code);
}
process.exit(code);
