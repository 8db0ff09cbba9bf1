/** Training curves: per-attempt metric files merged by step into one continuous curve. */
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import { readJsonLines, writeFileAtomic } from './files.ts';
import type { Store } from './layout.ts';

/** One training step as an engine logs it; every quantity is defined in docs/metrics.md, null where it is undefined. */
export const MetricRow = z
  .looseObject({ step: z.int().positive(), time: z.number() })
  .catchall(z.number().nullable());
export type MetricRow = z.infer<typeof MetricRow>;

/** A metric row and the attempt that computed it. */
export type AttemptMetricRow = MetricRow & { attempt: number };

/** Numbers of the attempts of a phase, ascending. */
export async function listAttempts(store: Store, phaseKey: string): Promise<number[]> {
  const names = await readdir(store.attempts(phaseKey)).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  return names
    .filter((name) => /^[1-9]\d*$/.test(name))
    .map(Number)
    .sort((a, b) => a - b);
}

/** Rows by attempt -> one row a step. A later attempt resumed from a checkpoint, so its rows replace the lost ones. */
export function mergeAttempts(attempts: { attempt: number; rows: MetricRow[] }[]): AttemptMetricRow[] {
  const byStep = new Map<number, AttemptMetricRow>();
  for (const { attempt, rows } of [...attempts].sort((a, b) => a.attempt - b.attempt)) {
    for (const row of rows) byStep.set(row.step, { ...row, attempt });
  }
  return [...byStep.values()].sort((a, b) => a.step - b.step);
}

/** The metric rows of every attempt of a phase, ascending. */
async function readAttempts(
  store: Store,
  phaseKey: string,
): Promise<{ attempt: number; file: string; rows: MetricRow[] }[]> {
  const attempts = await listAttempts(store, phaseKey);
  return Promise.all(
    attempts.map(async (attempt) => {
      const file = path.join(store.attempt(phaseKey, attempt), 'metrics.jsonl');
      return { attempt, file, rows: await readJsonLines(file, MetricRow) };
    }),
  );
}

/** The continuous curve of a phase, ascending by step. */
export async function readPhaseMetrics(store: Store, phaseKey: string): Promise<AttemptMetricRow[]> {
  return mergeAttempts(await readAttempts(store, phaseKey));
}

/**
 * Puts right what the attempts' files say of committed steps: the `newest` whole checkpoint holds the curve up to itself, under its marker's
 * sha256. Lines that were lost or damaged are written again; lines beyond the phase's `totalSteps` go. Only while no trainer runs. Returns the
 * committed steps that were wrong.
 */
export async function repairCurve(
  store: Store,
  phaseKey: string,
  newest: number,
  totalSteps: number,
): Promise<number[]> {
  const truth = new Map(
    (await readJsonLines(path.join(store.checkpoint(phaseKey, newest), 'metrics.jsonl'), MetricRow)).map(
      (row) => [row.step, row],
    ),
  );
  // The checkpoint of an engine that keeps no curve in it, or one that goes on from such a checkpoint.
  if (truth.size !== newest) return [];
  const attempts = await readAttempts(store, phaseKey);
  const shown = new Map(mergeAttempts(attempts).map(({ attempt, ...row }) => [row.step, { attempt, row }]));
  const wrong = [...truth.values()].filter((row) => !isDeepStrictEqual(shown.get(row.step)?.row, row));
  const kept = attempts.map(({ attempt, file, rows }) => ({
    file,
    before: rows,
    rows: rows.filter((row) => {
      if (row.step > newest) return row.step <= totalSteps;
      // What a later attempt has computed again is no longer known, and does not count.
      return shown.get(row.step)?.attempt !== attempt || isDeepStrictEqual(row, truth.get(row.step));
    }),
  }));
  const present = new Set(kept.flatMap(({ rows }) => rows.map(({ step }) => step)));
  for (const row of wrong.filter(({ step }) => !present.has(step))) {
    const before = shown.get(row.step)?.attempt ?? shown.get(row.step - 1)?.attempt;
    const place = Math.max(
      0,
      attempts.findIndex(({ attempt }) => attempt === before),
    );
    kept[place]?.rows.push(row);
  }
  for (const { file, before, rows } of kept)
    if (!isDeepStrictEqual(before, rows)) {
      const ordered = rows.sort((a, b) => a.step - b.step);
      await writeFileAtomic(file, ordered.map((row) => `${JSON.stringify(row)}\n`).join(''));
    }
  return wrong.map(({ step }) => step);
}
