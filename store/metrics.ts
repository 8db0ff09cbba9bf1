/** Training curves: per-attempt metric files merged by step into one continuous curve. */
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { readJsonLines } from './files.ts';
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

/** The continuous curve of a phase, ascending by step. */
export async function readPhaseMetrics(store: Store, phaseKey: string): Promise<AttemptMetricRow[]> {
  const attempts = await listAttempts(store, phaseKey);
  return mergeAttempts(
    await Promise.all(
      attempts.map(async (attempt) => ({
        attempt,
        rows: await readJsonLines(path.join(store.attempt(phaseKey, attempt), 'metrics.jsonl'), MetricRow),
      })),
    ),
  );
}
