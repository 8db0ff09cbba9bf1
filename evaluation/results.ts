/** Scores of an evaluation directory, and the files that hold them. */

import { type ScoredRow, type ScoringRules, type StrategySummary, summarise } from '../benchmarks/scoring.ts';
import { IMAGE_RULES } from '../method/images.ts';
import { strategyNamed } from '../method/strategies/index.ts';
import { CorruptFileError, readJson, writeFileAtomic, writeJson } from '../store/files.ts';
import type { Store } from '../store/layout.ts';
import { Manifest, predictionFiles, readEvaluation } from '../store/predictions.ts';
import { storedVerdicts } from './judged.ts';

/** Everything that can be said of an evaluation without asking anything. */
export type EvaluationResults = {
  key: string;
  manifest: Manifest;
  rules: { extractor: string; grounding: string; judged: number };
  summaries: StrategySummary[];
  rows: ScoredRow[];
};

/**
 * Scores what is on disk.
 * @throws CorruptFileError when the benchmark was not read to its end, or items and manifest do not belong together
 */
export async function scoreEvaluation(
  store: Store,
  key: string,
  rules: ScoringRules,
): Promise<EvaluationResults> {
  const { manifest, items, predictions } = await readEvaluation(store, key);
  const files = predictionFiles(store, key);
  if (manifest === null)
    throw new CorruptFileError(
      files.manifest,
      'it is missing: the benchmark was not read to its end; run the evaluation again',
    );
  if (items.length !== manifest.count)
    throw new CorruptFileError(
      files.items,
      `it has ${items.length} questions and the manifest says ${manifest.count}; run the evaluation again`,
    );
  const scored = manifest.strategies.flatMap((strategy) => {
    const grounds = strategyNamed(strategy)?.grounds === true;
    return summarise(strategy, items, predictions, rules, { grounds, repeats: manifest.repeats }) ?? [];
  });
  return {
    key,
    manifest,
    rules: { extractor: rules.extractor, grounding: rules.grounding, judged: rules.judged?.size ?? 0 },
    summaries: scored.map(({ summary }) => summary),
    rows: scored.flatMap(({ rows }) => rows),
  };
}

/** Full scoring rules for an evaluation: the image rules are those it was run with, the judge's verdicts those that are stored. */
export async function rulesOf(
  store: Store,
  key: string,
  rules: Pick<ScoringRules, 'extractor' | 'grounding'>,
): Promise<ScoringRules> {
  const manifest = await readJson(predictionFiles(store, key).manifest, Manifest);
  const name = String(manifest?.settings.images ?? '').split(':')[0] ?? '';
  const imageRules = Object.values(IMAGE_RULES).find((known) => known.name === name) ?? IMAGE_RULES.paper;
  return { ...rules, imageRules, judged: await storedVerdicts(store, key, rules.extractor) };
}

/** Writes scored.jsonl (one line a prediction) and summary.json. */
export async function writeResults(store: Store, results: EvaluationResults): Promise<void> {
  const files = predictionFiles(store, results.key);
  const { rows, ...summary } = results;
  await writeFileAtomic(files.scored, rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
  await writeJson(files.summary, summary);
}
