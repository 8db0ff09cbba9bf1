/**
 * Makes notebooks/example from a home: everything that the notebooks and the dashboard read of some studies' experiments, without weights,
 * small enough to commit. Usage: node notebooks/make-example.ts HOME [STUDY...]; without names, the studies that the notebooks show. The
 * first experiment keeps rollouts and images. An example that exists is replaced once everything has been read.
 */
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import sharp from 'sharp';
import { z } from 'zod';
import { evaluationFiles, Prediction, readScores } from '../store/evaluations.ts';
import { type ExperimentRecord, listExperiments } from '../store/experiments.ts';
import { readJson, readJsonLines } from '../store/files.ts';
import { openStore } from '../store/layout.ts';
import { listAttempts } from '../store/metrics.ts';
import { predictionFiles } from '../store/predictions.ts';
import { readSamples } from '../store/samples.ts';

/** What the notebooks show, the study whose first experiment keeps images first. */
const STUDIES = [
  'tiny-quickstart',
  'tiny-figure-5-ablation',
  'tiny-table-3-cross-checkpoints',
  'tiny-figure-12-boxes',
  'tiny-figure-4-inference',
  'tiny-figure-8-iterations',
  'tiny-e4-dapo',
];
/** Studies whose answers are read one by one; of the others, and of further seeds, scores are enough. */
const ANSWERED = new Set([
  'tiny-figure-5-ablation',
  'tiny-table-3-cross-checkpoints',
  'tiny-figure-12-boxes',
  'tiny-two-iterations',
]);
/** Held-out samples whose images are kept. */
const HELD_OUT_IMAGES = 6;
/** Longer side of kept images in pixels: boxes stay in pixels of the original, whose size the rows name. */
const IMAGE_SIDE = 720;
const IMAGE_QUALITY = 40;
const MOST_BYTES = 6_000_000;
const Phase = z.looseObject({ config: z.looseObject({ scenes: z.looseObject({ key: z.string() }) }) });

const [home, ...named] = process.argv.slice(2);
if (home === undefined) throw new Error('Usage: node notebooks/make-example.ts HOME [STUDY...]');
const from = openStore(home);
const target = path.join(import.meta.dirname, 'example');
const to = openStore(`${target}.new`);

/** Copies a text file; one that names the home would carry a path of this machine. */
async function copyText(file: string, change = (text: string) => text): Promise<void> {
  const text = change(await readFile(file, 'utf8'));
  if (text.includes(from.home))
    throw new Error(`${file} names ${from.home}, which means nothing on another machine.`);
  await write(file, text);
}

async function write(file: string, data: string | Uint8Array): Promise<void> {
  const place = path.join(to.home, path.relative(from.home, file));
  await mkdir(path.dirname(place), { recursive: true });
  await writeFile(place, data);
}

const exists = (file: string) =>
  stat(file).then(
    () => true,
    () => false,
  );

/** Fractions in answers to five digits, and no keys of replies: neither changes what is shown. */
const slim = (text: string) =>
  text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const row = JSON.parse(line, (_, value) =>
        typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(5)) : value,
      );
      return `${JSON.stringify('trace' in row ? { ...row, trace: [] } : row)}\n`;
    })
    .join('');

/** Scores without the checksums of the files that they rest on: those are left out, or written slimmer. */
const withoutFiles = (text: string) => {
  const { files: _, ...scores } = JSON.parse(text) as Record<string, unknown>;
  return `${JSON.stringify(scores, null, 2)}\n`;
};

/** The finished experiments of a study, by name. */
async function experimentsOf(study: string): Promise<ExperimentRecord[]> {
  const records: ExperimentRecord[] = [];
  for (const record of await listExperiments(from)) {
    if (record.study !== study) continue;
    const scores = await Promise.all(record.evaluations.map(({ key }) => readScores(from, key)));
    if (scores.every((one) => one !== null)) records.push(record);
    else console.log(`left out: ${record.experiment}, which has not been evaluated to its end`);
  }
  return records.sort((a, b) => (a.experiment < b.experiment ? -1 : 1));
}

async function copyExperiment(record: ExperimentRecord, withAnswers: boolean): Promise<void> {
  await copyText(from.experimentFile(record.experiment));
  await copyText(from.eventsFile(record.experiment));
  for (const { key } of record.phases) {
    await copyText(from.phaseFile(key));
    for (const attempt of await listAttempts(from, key))
      await copyText(path.join(from.attempt(key, attempt), 'metrics.jsonl'));
    const services = path.join(from.phase(key), 'services');
    for (const name of await readdir(services).catch(() => []))
      if (name.endsWith('.load.jsonl')) await copyText(path.join(services, name));
  }
  for (const { key } of record.evaluations) {
    await copyText(evaluationFiles(from, key).scores, withoutFiles);
    const { runs } = predictionFiles(from, key);
    if (await exists(runs)) await copyText(runs);
    if (withAnswers) await copyText(evaluationFiles(from, key).predictions, slim);
  }
}

/** Keeps the rows of these samples and their images, saved smaller. */
async function copySamples(dataset: string, ids: ReadonlySet<string>): Promise<void> {
  const directory = from.scenes(dataset);
  const text = await readFile(path.join(directory, 'rows.jsonl'), 'utf8');
  const lines = text.split('\n').filter((line) => line !== '' && ids.has(JSON.parse(line).sample_id));
  await write(path.join(directory, 'rows.jsonl'), `${lines.join('\n')}\n`);
  for (const sample of await readSamples(directory)) {
    if (!ids.has(sample.sample_id)) continue;
    const small = sharp(sample.image).resize({
      width: IMAGE_SIDE,
      height: IMAGE_SIDE,
      fit: 'inside',
      withoutEnlargement: true,
    });
    await write(sample.image, await small.jpeg({ quality: IMAGE_QUALITY }).toBuffer());
  }
}

/** Rollouts of the first and the last step of the first iteration's phases. */
async function copyRollouts(record: ExperimentRecord): Promise<void> {
  const db = await (await DuckDBInstance.create(':memory:')).connect();
  for (const phase of record.phases.filter(({ iteration }) => iteration === 1)) {
    const ids = new Set<string>();
    for (const step of [1, phase.total_steps]) {
      const file = path.join(from.rollouts(phase.key), `step-${String(step).padStart(6, '0')}.parquet`);
      await write(file, await readFile(file));
      const found = await db.runAndReadAll(`SELECT DISTINCT sample_id FROM '${file.replaceAll("'", "''")}'`);
      for (const { sample_id } of found.getRowObjects()) ids.add(String(sample_id));
    }
    const { config } = (await readJson(from.phaseFile(phase.key), Phase)) ?? {};
    if (config !== undefined) await copySamples(config.scenes.key, ids);
  }
}

/** A few held-out samples, of as many kinds as can be, so that one can be looked at over the checkpoints. */
async function copyHeldOut(record: ExperimentRecord): Promise<void> {
  const answers = await readJsonLines(
    evaluationFiles(from, record.evaluations[0]?.key ?? '').predictions,
    Prediction,
  );
  const kinds = [...Map.groupBy(answers, ({ kind }) => kind).values()].map((rows) =>
    [...new Set(rows.map(({ sample_id }) => sample_id))].sort(),
  );
  const wanted = new Set<string>();
  for (let place = 0; wanted.size < HELD_OUT_IMAGES && kinds.some((ids) => place < ids.length); place++)
    for (const ids of kinds) {
      const id = ids[place];
      if (id !== undefined && wanted.size < HELD_OUT_IMAGES) wanted.add(id);
    }
  for (const dataset of await readdir(path.dirname(from.scenes('any')))) {
    const rows = await readSamples(from.scenes(dataset)).catch(() => []);
    if (rows.some(({ sample_id }) => wanted.has(sample_id))) await copySamples(dataset, wanted);
  }
}

async function sizeOf(directory: string): Promise<number> {
  let bytes = 0;
  for (const entry of await readdir(directory, { withFileTypes: true, recursive: true }))
    if (entry.isFile()) bytes += (await stat(path.join(entry.parentPath, entry.name))).size;
  return bytes;
}

await rm(to.home, { recursive: true, force: true });
let first = true;
for (const study of named.length > 0 ? named : STUDIES) {
  const records = await experimentsOf(study);
  if (records.length === 0)
    console.log(`left out: ${study}, of which ${from.home} has no finished experiment`);
  for (const record of records) {
    await copyExperiment(record, first || ANSWERED.has(study));
    if (first) {
      await copyRollouts(record);
      await copyHeldOut(record);
    }
    first = false;
    console.log(record.experiment);
  }
}
if (first) throw new Error(`${from.home} has none of these experiments; nothing was changed.`);
for (const name of ['datasets', 'evaluations', 'phases', 'runs'])
  console.log(`${name}: ${Math.round((await sizeOf(path.join(to.home, name))) / 1000)} kB`);
const bytes = await sizeOf(to.home);
if (bytes > MOST_BYTES)
  throw new Error(`The example takes ${bytes} bytes, more than ${MOST_BYTES}: name fewer studies.`);
await rm(target, { recursive: true, force: true });
await rename(to.home, target);
console.log(`${target}: ${Math.round(bytes / 1000)} kB`);
