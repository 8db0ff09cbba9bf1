/** Results of an experiment's evaluations: predictions one by one (raw text kept), and the scores made from them. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import type { ExperimentEvent } from './experiments.ts';
import { readJson, readJsonLines } from './files.ts';
import type { Store } from './layout.ts';
import { describeFiles, filesFault, ManifestFile } from './manifest.ts';
import { PredictionRow, predictionFiles, RunRow } from './predictions.ts';

const Interval = z.tuple([z.number(), z.number()]);

/** Scores of one strategy on one checkpoint; rates in [0, 1], box_size in pixels of the original image. */
export const StrategyScores = z.object({
  accuracy: z.number(),
  interval: Interval,
  correct: z.int().nonnegative(),
  count: z.int().positive(),
  hit_rate: z.number().nullable(),
  iou: z.number().nullable(),
  box_count: z.number().nullable(),
  box_size: z.number().nullable(),
  by_kind: z.record(z.string(), z.object({ accuracy: z.number(), count: z.int() })),
});
export type StrategyScores = z.infer<typeof StrategyScores>;

/** scores.json of an evaluation. */
export const Scores = z.object({
  key: z.string(),
  checkpoint: z.string(),
  model_key: z.string(),
  strategies: z.record(z.string(), StrategyScores),
  files: z
    .array(ManifestFile)
    .optional()
    .describe('replies and predictions that the scores rest on, as they were'),
});
export type Scores = z.infer<typeof Scores>;

/** A line of predictions.jsonl as the first version wrote it. */
const JudgedRow = z.object({
  key: z.string(),
  sample_id: z.string(),
  strategy: z.string(),
  kind: z.string(),
  perceiver_text: z.string().nullable(),
  boxes: z.array(z.array(z.number()).length(4)),
  text: z.string(),
  extracted_answer: z.string().nullable(),
  correct: z.boolean(),
  metrics: z.record(z.string(), z.number().nullable()),
  /** Time that the models spent on the answer. */
  model_seconds: z.number().nonnegative().optional(),
});

/** A line of predictions.jsonl with its verdict: what was asked, what came back, how it was judged. */
export const Prediction = z.union([
  JudgedRow,
  PredictionRow.required({ verdict: true }).transform(
    ({ verdict, ...row }): z.infer<typeof JudgedRow> => ({
      key: row.key,
      sample_id: row.item,
      strategy: row.strategy,
      kind: verdict.category,
      perceiver_text: row.perceiver_text,
      boxes: row.boxes,
      text: row.text,
      extracted_answer: verdict.answer,
      correct: verdict.correct,
      metrics: verdict.metrics,
      model_seconds: row.cost.model_seconds,
    }),
  ),
]);
export type Prediction = z.infer<typeof Prediction>;

/** Where an evaluation's files lie. */
export function evaluationFiles(store: Store, key: string): { predictions: string; scores: string } {
  const { predictions, scores } = predictionFiles(store, key);
  return { predictions, scores };
}

/** The scores of a finished evaluation, or null while it is not finished. */
export async function readScores(store: Store, key: string): Promise<Scores | null> {
  return readJson(evaluationFiles(store, key).scores, Scores);
}

/** What scores.json says of the files that scores rest on. */
export async function scoredFiles(store: Store, key: string): Promise<ManifestFile[]> {
  const { directory, calls, predictions } = predictionFiles(store, key);
  return describeFiles(
    directory,
    [calls, predictions].filter((file) => existsSync(file)).map((file) => path.basename(file)),
  );
}

/** Why finished scores may not be used; null when they may. Both files are logs: lines that came later do no harm. */
export async function scoresFault(store: Store, { key, files }: Scores): Promise<string | null> {
  return filesFault(store.evaluation(key), files ?? [], { growing: true });
}

/**
 * Seconds that an evaluation took: what its runs say, else the time between its last start and end in an experiment's events; null where
 * neither is known.
 */
export async function evaluationSeconds(
  store: Store,
  key: string,
  events: readonly ExperimentEvent[],
): Promise<number | null> {
  const runs = await readJsonLines(predictionFiles(store, key).runs, RunRow);
  const own = runs.reduce((sum, { seconds }) => sum + seconds, 0);
  if (own > 0) return own;
  const at = (type: string) =>
    Date.parse(events.findLast((event) => event.key === key && event.type === type)?.time ?? '');
  const seconds = (at('evaluation-completed') - at('evaluation-started')) / 1000;
  return seconds > 0 ? seconds : null;
}

/**
 * Answers a second by strategy. The strategies of an evaluation are asked side by side, so its time is shared out by what the models spent
 * on each; evenly by answers where that was not recorded.
 */
export function answersPerSecond(seconds: number, predictions: readonly Prediction[]): Map<string, number> {
  const timed = predictions.every(({ model_seconds = 0 }) => model_seconds > 0);
  const weight = ({ model_seconds = 1 }: Prediction) => (timed ? model_seconds : 1);
  const total = predictions.reduce((sum, row) => sum + weight(row), 0);
  return new Map(
    [...Map.groupBy(predictions, ({ strategy }) => strategy)].map(([strategy, rows]) => [
      strategy,
      rows.length / ((seconds * rows.reduce((sum, row) => sum + weight(row), 0)) / total),
    ]),
  );
}
