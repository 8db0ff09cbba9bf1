/** Whether a disturbed experiment ended with what the undisturbed one ended with, byte for byte. */
import path from 'node:path';
import { CommitMarker, checkpointFault } from '../../store/checkpoints.ts';
import { readScores } from '../../store/evaluations.ts';
import { readJson, readJsonLines } from '../../store/files.ts';
import { listAttempts, MetricRow, readPhaseMetrics } from '../../store/metrics.ts';
import { readEvaluation } from '../../store/predictions.ts';
import type { Stack } from './stack.ts';

/** Quantities that say how long something took or when it was, not what came out. */
const TIMES = /^(?:time|attempt|.*_seconds)$/;

/** Counts of what was compared. */
export type Comparison = { differences: string[]; checkpoints: number; steps: number; predictions: number };

/** Compares final weights and optimiser states, curves, and predictions. Differences are sentences. */
export async function compare(undisturbed: Stack, disturbed: Stack): Promise<Comparison> {
  const differences: string[] = [];
  const record = await undisturbed.record();
  const other = await disturbed.record();
  const keys = (of: typeof record) => [...of.phases, ...of.evaluations].map(({ id, key }) => `${id} ${key}`);
  if (keys(record).join() !== keys(other).join()) differences.push('the two experiments have other keys');
  let steps = 0;
  let predictions = 0;
  for (const { id, key, total_steps } of record.phases) {
    const weights = async ({ store }: Stack) => {
      const directory = store.checkpoint(key, total_steps);
      const fault = await checkpointFault(directory);
      if (fault !== null) differences.push(`${id}: ${fault}`);
      const marker = await readJson(path.join(directory, 'COMMITTED.json'), CommitMarker);
      const state = (marker?.files ?? []).filter((file) => /\.(?:safetensors|pt|pth)$/.test(file.path));
      return JSON.stringify(state);
    };
    if ((await weights(undisturbed)) !== (await weights(disturbed)))
      differences.push(`${id}: the final weights or optimiser states differ`);
    const curve = async ({ store }: Stack) =>
      (await readPhaseMetrics(store, key)).map((row) =>
        JSON.stringify(Object.fromEntries(Object.entries(row).filter(([name]) => !TIMES.test(name)))),
      );
    const [one, two] = [await curve(undisturbed), await curve(disturbed)];
    steps += one.length;
    if (one.length !== total_steps) differences.push(`${id}: the undisturbed curve has ${one.length} rows`);
    const wrong = one.findIndex((row, index) => row !== two[index]);
    if (wrong >= 0 || one.length !== two.length)
      differences.push(
        `${id}: the curves differ (${one.length} and ${two.length} rows) from ${one[wrong] ?? 'its end'} / ${two[wrong] ?? 'its end'}`,
      );
    differences.push(...(await repeatedLines(disturbed, id, key)));
  }
  for (const { id, key } of record.evaluations) {
    const answers = async ({ store }: Stack) =>
      [...(await readEvaluation(store, key)).predictions.values()]
        .map(({ cost: { model_seconds: _, ...cost }, ...row }) => JSON.stringify({ ...row, cost }))
        .sort();
    const [one, two] = [await answers(undisturbed), await answers(disturbed)];
    predictions += one.length;
    if (one.join('\n') !== two.join('\n'))
      differences.push(`${id}: the predictions differ (${one.length} and ${two.length} rows)`);
    // What scores.json vouches for beside the scores are files with durations in them.
    const scores = async ({ store }: Stack) => JSON.stringify((await readScores(store, key))?.strategies);
    if ((await scores(undisturbed)) !== (await scores(disturbed)))
      differences.push(`${id}: the scores differ`);
  }
  return { differences, checkpoints: record.phases.length, steps, predictions };
}

/** A step may be in the files of two attempts, where the first was killed before it committed; in one file it is once. */
async function repeatedLines({ store }: Stack, id: string, key: string): Promise<string[]> {
  const found: string[] = [];
  for (const attempt of await listAttempts(store, key)) {
    const rows = await readJsonLines(path.join(store.attempt(key, attempt), 'metrics.jsonl'), MetricRow);
    const again = rows.map(({ step }) => step).filter((step, index, all) => all.indexOf(step) !== index);
    if (again.length > 0) found.push(`${id}: attempt ${attempt} has step ${again.join(', ')} twice`);
  }
  return found;
}
