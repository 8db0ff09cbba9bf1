/** A home of the size that the dashboard is measured on, made in a temporary folder. */
import { createWriteStream } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { finished } from 'node:stream/promises';
import { DuckDBInstance } from '@duckdb/node-api';
import { writeExperiment } from '../../store/experiments.ts';
import { JsonLinesWriter } from '../../store/files.ts';
import { openStore } from '../../store/layout.ts';
import { seededRandom } from '../statistics/random.ts';

/** Size of the home. */
export const SIZE = { runs: 20, steps: 50_000, metrics: 12, rollouts: 100_000, spikes: 3 };

/** Names of the metrics, those that the page shows. */
export const METRICS = [
  'reward_mean',
  'hit_rate',
  'iou',
  'box_count',
  'box_size',
  'kl',
  'entropy',
  'completion_length',
  'clip_fraction',
  'grad_norm',
  'step_seconds',
  'reward_std',
] as const;

/** A value far above its neighbours at a single step. */
export type Spike = { experiment: string; step: number };

/** Height of a spike: above everything else. */
export const SPIKE = 1000;

/** Rollouts of one step, as a trainer writes them. */
const ROLLOUTS_A_STEP = 64;

/** Name of a run, counted from 1. */
export const nameOf = (run: number) => `run-${String(run).padStart(2, '0')}`;

/** Key of a run's phase; every run has two of equal length. */
export const phaseKey = (experiment: string, role: 'perceiver' | 'reasoner') => `${role}-${experiment}`;

/** Writes the runs, the first of them still running, and returns where the spikes are. */
export async function writeHome(home: string): Promise<Spike[]> {
  const store = openStore(home);
  const spikes: Spike[] = [];
  for (let run = 1; run <= SIZE.runs; run++) {
    const experiment = nameOf(run);
    const half = SIZE.steps / 2;
    const random = seededRandom(run);
    const own = Array.from({ length: SIZE.spikes }, (_, n) =>
      Math.floor(((n + random()) / SIZE.spikes) * (SIZE.steps - 2) + 2),
    );
    spikes.push(...own.map((step) => ({ experiment, step })));
    const phases = (['perceiver', 'reasoner'] as const).map((name) => ({
      iteration: 1,
      name,
      id: `iteration-1/${name}`,
      key: phaseKey(experiment, name),
      total_steps: half,
      skipped: false,
    }));
    await writeExperiment(store, {
      experiment,
      study: 'benchmark',
      seed: run,
      created_at: new Date(Date.UTC(2026, 0, run)).toISOString(),
      phases,
      evaluations: [],
      config: {},
      base_key: '',
      decisions: {},
      revisions: [],
      lineage: null,
    });
    const diary = new JsonLinesWriter(store.eventsFile(experiment));
    const event = (type: string, phase: string | null) => ({
      time: new Date().toISOString(),
      type,
      phase,
      key: null,
      detail: {},
    });
    await diary.append(event('experiment-started', null), event('phase-started', 'iteration-1/perceiver'));
    // The first run is the live one: its second phase has begun and has room for more steps.
    for (const [index, phase] of phases.entries())
      await writeMetrics(store.attempt(phase.key, 1), {
        first: index * half + 1,
        steps: run === 1 && index === 1 ? half - 1000 : half,
        spikes: new Set(own),
        random,
      });
    if (run > 1) await diary.append(event('experiment-completed', null));
  }
  await writeRollouts(store.rollouts(phaseKey(nameOf(1), 'perceiver')));
  return spikes.filter(({ experiment, step }) => experiment !== nameOf(1) || step <= SIZE.steps - 1000);
}

async function writeMetrics(
  directory: string,
  {
    first,
    steps,
    spikes,
    random,
  }: { first: number; steps: number; spikes: Set<number>; random: () => number },
): Promise<void> {
  await mkdir(directory, { recursive: true });
  const out = createWriteStream(path.join(directory, 'metrics.jsonl'));
  let text = '';
  for (let step = 1; step <= steps; step++) {
    const value = spikes.has(first + step - 1) ? SPIKE : 0;
    text += metricsLine(
      step,
      METRICS.map((_, n) => value + Math.sin(step / (500 + 50 * n)) + random()),
    );
    if (text.length < 1 << 20) continue;
    if (!out.write(text)) await new Promise<void>((resolve) => out.once('drain', () => resolve()));
    text = '';
  }
  out.end(text);
  await finished(out);
}

/** One row as an engine writes it. */
export function metricsLine(step: number, values: number[]): string {
  return `{"step": ${step}, "time": ${1.7e9 + step}, ${METRICS.map((name, n) => `"${name}": ${values[n]}`).join(', ')}}\n`;
}

async function writeRollouts(directory: string): Promise<void> {
  await mkdir(directory, { recursive: true });
  const instance = await DuckDBInstance.create(':memory:');
  const db = await instance.connect();
  const steps = Math.ceil(SIZE.rollouts / ROLLOUTS_A_STEP);
  for (let step = 1; step <= steps; step++) {
    const count = Math.min(ROLLOUTS_A_STEP, SIZE.rollouts - (step - 1) * ROLLOUTS_A_STEP);
    const file = path.join(directory, `step-${String(step).padStart(6, '0')}.parquet`);
    await db.run(
      `COPY (SELECT ${step}::INTEGER AS step, 'sample-${step}-' || (i // 8) AS sample_id, (i % 8)::INTEGER AS rollout,
       'The answer is (' || chr(65 + (i % 4)::INTEGER) || ').' AS completion, (hash(i, ${step}) % 2)::DOUBLE AS reward,
       0.5::DOUBLE AS advantage, hash(i, ${step}) % 2 = 1 AS correct, (hash(i, ${step}, 1) % 101 / 100)::DOUBLE AS hit_rate,
       (hash(i, ${step}, 2) % 101 / 100)::DOUBLE AS iou, (hash(i, ${step}, 3) % 4)::DOUBLE AS box_count, 80::DOUBLE AS box_size,
       [[10.0, 10.0, 90.0, 90.0]]::DOUBLE[][] AS boxes, 'The letter is T. The answer is (A).' AS reasoner_text, 'A' AS extracted_answer
       FROM range(${count}) r(i)) TO '${file.replaceAll("'", "''")}' (FORMAT parquet)`,
    );
  }
  db.closeSync();
  instance.closeSync();
}
