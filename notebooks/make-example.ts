/**
 * Makes notebooks/example from a home: everything that the figures and the dashboard read of some runs, without weights, with the rollouts
 * of a few steps and their images saved smaller. Usage: node notebooks/make-example.ts HOME EXPERIMENT...
 */
import { cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import sharp from 'sharp';
import { z } from 'zod';
import { type ExperimentRecord, readExperiment } from '../store/experiments.ts';
import { readJson } from '../store/files.ts';
import { openStore } from '../store/layout.ts';
import { listAttempts } from '../store/metrics.ts';
import { readSamples } from '../store/samples.ts';

const [home, ...names] = process.argv.slice(2);
if (home === undefined || names.length === 0)
  throw new Error('Usage: node notebooks/make-example.ts HOME EXPERIMENT...');
const from = openStore(home);
const to = openStore(path.join(import.meta.dirname, 'example'));

/** Held-out samples whose images are kept. */
const HELD_OUT_IMAGES = 6;
const IMAGE_QUALITY = 35;
const Phase = z.looseObject({ config: z.looseObject({ scenes: z.looseObject({ key: z.string() }) }) });

async function copy(file: string): Promise<void> {
  const target = path.join(to.home, path.relative(from.home, file));
  await mkdir(path.dirname(target), { recursive: true });
  await cp(file, target);
}

/** Keeps the rows of these samples and their images, saved smaller: the example is committed. */
async function copySamples(dataset: string, ids: ReadonlySet<string>): Promise<void> {
  const directory = from.scenes(dataset);
  const text = await readFile(path.join(directory, 'rows.jsonl'), 'utf8');
  const lines = text.split('\n').filter((line) => line !== '' && ids.has(JSON.parse(line).sample_id));
  await mkdir(path.join(to.scenes(dataset), 'images'), { recursive: true });
  await writeFile(path.join(to.scenes(dataset), 'rows.jsonl'), `${lines.join('\n')}\n`);
  for (const sample of await readSamples(directory)) {
    if (!ids.has(sample.sample_id)) continue;
    const target = path.join(to.scenes(dataset), path.relative(directory, sample.image));
    await sharp(sample.image).jpeg({ quality: IMAGE_QUALITY }).toFile(target);
  }
}

/** Rollouts of the first and the last step of the first iteration's phases. */
async function copyRollouts(record: ExperimentRecord): Promise<void> {
  const db = await (await DuckDBInstance.create(':memory:')).connect();
  for (const phase of record.phases.filter(({ iteration }) => iteration === 1)) {
    const ids = new Set<string>();
    for (const step of [1, phase.total_steps]) {
      const file = path.join(from.rollouts(phase.key), `step-${String(step).padStart(6, '0')}.parquet`);
      await copy(file);
      const found = await db.runAndReadAll(`SELECT DISTINCT sample_id FROM '${file.replaceAll("'", "''")}'`);
      for (const { sample_id } of found.getRowObjects()) ids.add(String(sample_id));
    }
    const { config } = (await readJson(from.phaseFile(phase.key), Phase)) ?? {};
    if (config !== undefined) await copySamples(config.scenes.key, ids);
  }
}

await rm(to.home, { recursive: true, force: true });
for (const [index, name] of names.entries()) {
  const record = await readExperiment(from, name);
  if (record === null) throw new Error(`There is no experiment "${name}" in ${home}.`);
  await copy(from.experimentFile(name));
  await copy(from.eventsFile(name));
  for (const { key } of record.phases) {
    await copy(from.phaseFile(key));
    for (const attempt of await listAttempts(from, key))
      await copy(path.join(from.attempt(key, attempt), 'metrics.jsonl'));
  }
  for (const { key } of record.evaluations)
    for (const file of ['predictions.jsonl', 'scores.json'])
      await copy(path.join(from.evaluation(key), file));
  if (index > 0) continue;
  await copyRollouts(record);
  await copyHeldOut(record);
}

/** A few held-out samples, so that one can be looked at over the checkpoints. */
async function copyHeldOut(record: ExperimentRecord): Promise<void> {
  const file = path.join(from.evaluation(record.evaluations[0]?.key ?? ''), 'predictions.jsonl');
  const text = await readFile(file, 'utf8');
  const ids = text
    .split('\n')
    .filter(Boolean)
    .map((line) => String(JSON.parse(line).sample_id));
  const wanted = new Set([...new Set(ids)].sort().slice(0, HELD_OUT_IMAGES));
  for (const dataset of await readdir(path.dirname(from.scenes('any')))) {
    const rows = await readSamples(from.scenes(dataset)).catch(() => []);
    if (rows.some(({ sample_id }) => wanted.has(sample_id))) await copySamples(dataset, wanted);
  }
}
