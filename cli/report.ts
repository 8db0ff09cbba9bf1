/** What `p2r report`, `p2r compare` and `p2r audit` do: everything from stored predictions. */
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { averaged, type ParetoPoint, paretoSvg, throughputTable } from '../benchmarks/reports/pareto.ts';
import { RENDERERS } from '../benchmarks/reports/render.ts';
import { paperTable, TABLES } from '../benchmarks/reports/tables.ts';
import type { ScoredRow, ScoringRules } from '../benchmarks/scoring.ts';
import { attributionCounts } from '../benchmarks/statistics/attribution.ts';
import { auditExtractors } from '../benchmarks/statistics/extractors.ts';
import { agreement, clusterPermutation, holm, mcnemarExact } from '../benchmarks/statistics/paired.ts';
import { leastSignificantSplit, minimumDetectableDifference } from '../benchmarks/statistics/power.ts';
import { type EvaluationResults, rulesOf, scoreEvaluation } from '../evaluation/results.ts';
import { EXTRACTORS, type ExtractorName } from '../method/answers.ts';
import { strategyNamed } from '../method/strategies/index.ts';
import { readJsonLines, writeFileAtomic } from '../store/files.ts';
import type { Store } from '../store/layout.ts';
import { predictionFiles, RunRow, readEvaluation } from '../store/predictions.ts';
import { UserError } from './errors.ts';
import type { ReportOptions } from './report-command.ts';

const print = (text: string) => process.stdout.write(text);

function extractorNamed(name: string): ExtractorName {
  if (Object.hasOwn(EXTRACTORS, name)) return name as ExtractorName;
  throw new UserError(
    `The extractor "${name}" is not known; there are: ${Object.keys(EXTRACTORS).join(', ')}.`,
  );
}

/** Names of the evaluations of a home that have been read to their end, oldest first. */
async function finished(store: Store): Promise<string[]> {
  const names = await readdir(store.evaluations).catch(() => []);
  return names.filter((name) => existsSync(predictionFiles(store, name).manifest)).sort();
}

async function results(
  store: Store,
  name: string,
  rules: Pick<ScoringRules, 'extractor' | 'grounding'>,
): Promise<EvaluationResults> {
  if (!existsSync(predictionFiles(store, name).manifest)) {
    const known = await finished(store);
    throw new UserError(
      `There is no finished evaluation "${name}"${known.length > 0 ? `; there are: ${known.join(', ')}` : ''}.`,
    );
  }
  return scoreEvaluation(store, name, await rulesOf(store, name, rules));
}

/** Prints tables, and draws the figure. */
export async function report(store: Store, names: string[], options: ReportOptions): Promise<void> {
  const rules = { extractor: extractorNamed(options.extractor), grounding: options.grounding };
  const evaluations: EvaluationResults[] = [];
  for (const name of names.length > 0 ? names : await finished(store))
    evaluations.push(await results(store, name, rules));
  const points: (ParetoPoint & { questions: number })[] = [];
  for (const evaluation of evaluations) points.push(...(await paretoPoints(store, evaluation)));
  for (const id of options.tables.split(',').map((table) => table.trim())) {
    if (!TABLES.includes(id))
      throw new UserError(`There is no table "${id}"; there are: ${TABLES.join(', ')}.`);
    const table = id === 'figure-11' ? throughputTable(averaged(points)) : paperTable(id, evaluations);
    print(`${RENDERERS[options.format](table)}\n`);
  }
  if (options.figure === undefined) return;
  const picture = paretoSvg(averaged(points), 'Accuracy against throughput');
  await writeFileAtomic(path.resolve(options.figure), picture);
}

/** Points of one evaluation. Throughput follows from the slots of its runs and the time an answer kept one. */
async function paretoPoints(
  store: Store,
  evaluation: EvaluationResults,
): Promise<(ParetoPoint & { questions: number })[]> {
  const runs = await readJsonLines(predictionFiles(store, evaluation.key).runs, RunRow);
  const slots = Math.max(1, ...runs.filter(({ done }) => done > 0).map(({ concurrency }) => concurrency));
  return evaluation.summaries.flatMap(({ strategy, overall, cost, count }) => {
    if (overall === null || cost.model_seconds === 0) return [];
    return {
      questions: count,
      label: `${evaluation.manifest.labels.reasoner}, ${strategyNamed(strategy)?.title ?? strategy}`,
      accuracy: overall.accuracy,
      interval: overall.interval,
      throughput: (slots * count) / cost.model_seconds,
      callsPerQuestion: cost.calls / count,
      tokensPerQuestion: (cost.prompt_tokens + cost.completion_tokens) / count,
    };
  });
}

/** Verdicts of one strategy by question and repeat. */
async function verdicts(
  store: Store,
  reference: string,
  extractor: ExtractorName,
): Promise<Map<string, ScoredRow>> {
  const colon = reference.lastIndexOf(':');
  if (colon < 0) throw new UserError(`"${reference}" is not EVALUATION:STRATEGY.`);
  const strategy = reference.slice(colon + 1);
  const { rows } = await results(store, reference.slice(0, colon), { extractor, grounding: 'union' });
  const own = rows.filter((row) => row.strategy === strategy);
  if (own.length === 0) throw new UserError(`"${reference}" has no prediction.`);
  return new Map(own.map((row) => [`${row.item}#${row.repeat}`, row]));
}

/** How two runs differ on the questions that both answered. */
async function difference(store: Store, [a, b]: readonly [string, string], extractor: ExtractorName) {
  const [first, second] = [await verdicts(store, a, extractor), await verdicts(store, b, extractor)];
  const pairs = [...first].flatMap(([id, row]) => {
    const other = second.get(id);
    return other === undefined ? [] : [{ cluster: row.cluster, a: row.correct, b: other.correct }];
  });
  if (pairs.length === 0) throw new UserError(`"${a}" and "${b}" have no question in common.`);
  const counts = agreement(pairs);
  const independent = new Set(pairs.map(({ cluster }) => cluster)).size === pairs.length;
  const permutation = clusterPermutation(
    pairs.map((pair) => ({ cluster: pair.cluster, a: Number(pair.a), b: Number(pair.b) })),
  );
  return {
    a,
    b,
    questions: pairs.length,
    only_in_one: first.size + second.size - 2 * pairs.length,
    ...counts,
    difference: permutation.difference,
    // McNemar's test takes questions for independent; with several questions an image they are not.
    p: independent ? mcnemarExact(counts.onlyA, counts.onlyB) : permutation.p,
    test: independent ? 'exact McNemar' : 'permutation of clusters',
  };
}

/** Prints how pairs of runs differ; with several pairs (one a benchmark), p is also adjusted by Holm over them. */
export async function compare(
  store: Store,
  references: readonly string[],
  options: { extractor: string; json?: boolean },
): Promise<void> {
  const extractor = extractorNamed(options.extractor);
  if (references.length % 2 !== 0)
    throw new UserError('Runs are compared in pairs: give an even number of EVALUATION:STRATEGY.');
  const compared: Awaited<ReturnType<typeof difference>>[] = [];
  for (let at = 0; at < references.length; at += 2)
    compared.push(await difference(store, [references[at] ?? '', references[at + 1] ?? ''], extractor));
  const adjusted = holm(compared.map(({ p }) => p));
  const found = compared.map((one, index) => ({ ...one, p_holm: adjusted[index] ?? 1 }));
  if (options.json) return void print(`${JSON.stringify(found, null, 2)}\n`);
  for (const one of found)
    print(
      [
        `${one.a} against ${one.b}, ${one.questions} questions in common${one.only_in_one > 0 ? `, ${one.only_in_one} in one of them only` : ''}`,
        `right in both ${one.both}, only in the first ${one.onlyA}, only in the second ${one.onlyB}, in neither ${one.neither}`,
        `difference ${(100 * one.difference).toFixed(1)} points, p = ${one.p.toPrecision(2)} (${one.test})${found.length > 1 ? `, ${one.p_holm.toPrecision(2)} by Holm over ${found.length} pairs` : ''}`,
        '',
      ].join('\n'),
    );
}

/** Prints what should be known before numbers are believed. */
export async function audit(
  store: Store,
  name: string,
  options: { extractor: string; json?: boolean },
): Promise<void> {
  const extractor = extractorNamed(options.extractor);
  const scored = await results(store, name, { extractor, grounding: 'union' });
  const { items, predictions } = await readEvaluation(store, name);
  const byId = new Map(items.map((item) => [item.id, item]));
  const strategies = scored.summaries.map((summary) => {
    const rows = scored.rows.filter((row) => row.strategy === summary.strategy);
    const answers = rows.flatMap((row) => {
      const [item, prediction] = [byId.get(row.item), predictions.get(row.key)];
      if (item === undefined || prediction === undefined) return [];
      const sample = { form: item.form, options: item.options };
      return [{ id: row.item, text: prediction.text, reference: item.answer, sample }];
    });
    const clusters = new Set(rows.map(({ cluster }) => cluster)).size;
    return {
      strategy: summary.strategy,
      extractors: auditExtractors(extractor, answers),
      position_bias: summary.positionBias,
      permutations: summary.permutations,
      stops: summary.stops,
      cut_off: summary.cost.truncated,
      notes: summary.notes,
      least_significant_split_of_10_per_cent: leastSignificantSplit(Math.round(clusters / 10)),
      minimum_detectable_difference: minimumDetectableDifference({ questions: clusters, discordant: 0.1 }),
    };
  });
  const right = (strategy: string) =>
    new Map(
      scored.rows
        .filter((row) => row.strategy === strategy)
        .map((row) => [`${row.item}#${row.repeat}`, row.correct]),
    );
  const predicted = right('p2r').size > 0 ? right('p2r') : right('self');
  const [oracle, without] = [right('oracle'), right('none').size > 0 ? right('none') : right('cot')];
  const attribution =
    predicted.size > 0 && oracle.size > 0
      ? attributionCounts(
          [...predicted].flatMap(([id, correct]) => {
            const withTruth = oracle.get(id);
            if (withTruth === undefined) return [];
            return [{ predicted: correct, oracle: withTruth, without: without.get(id) ?? null }];
          }),
        )
      : null;
  if (options.json) return void print(`${JSON.stringify({ strategies, attribution }, null, 2)}\n`);
  for (const one of strategies) {
    print(`${one.strategy}\n`);
    for (const { extractor: other, accuracy, unread, disagreements } of one.extractors)
      print(
        `  ${other.padEnd(24)} ${(100 * accuracy).toFixed(1).padStart(5)} %  ${unread} unread, ${disagreements.length} read otherwise\n`,
      );
    if (one.position_bias !== null) {
      const { chosen, expected, p } = one.position_bias;
      const letters = Object.keys(expected).map(
        (letter) => `${letter} ${chosen[letter]} (${expected[letter]?.toFixed(0)} due)`,
      );
      print(`  letters chosen: ${letters.join(', ')}; p = ${p.toPrecision(2)}\n`);
    }
    if (one.permutations !== null)
      print(
        `  orders of options: ${(100 * one.permutations.allRight).toFixed(1)} % right in all, ${(100 * one.permutations.flips).toFixed(1)} % change with the order\n`,
      );
    const least = one.minimum_detectable_difference;
    print(
      `  a difference of ${least === null ? 'any size is not' : `${(100 * least).toFixed(1)} points is`} found 4 times of 5 (10 % of questions discordant)\n`,
    );
    const ends = Object.entries(one.stops).map(([stop, count]) => `${stop} ${count}`);
    print(`  ended by: ${ends.join(', ')}; ${one.cut_off} replies cut off\n`);
  }
  if (attribution !== null)
    print(
      `of ${attribution.questions} questions: ${attribution.robust} right either way, ${attribution.perception_limited} limited by perception, ${attribution.reasoning_limited} by reasoning, ${attribution.oracle_harmed} right only with the predicted boxes${attribution.hint_harmed === null ? '' : `; ${attribution.hint_harmed} right without boxes and wrong with the predicted ones`}\n`,
    );
}
