/** What `p2r eval` shows: progress, what a run would ask, and what it found. */
import logUpdate from 'log-update';
import type { Benchmark } from '../benchmarks/item.ts';
import { minimumDetectableDifference } from '../benchmarks/statistics/power.ts';
import type { scoreEvaluation } from '../evaluation/results.ts';
import type { EvaluationRun, Progress, RunResult } from '../evaluation/run.ts';
import type { Strategy } from '../method/strategies/strategy.ts';
import type { Store } from '../store/layout.ts';
import { predictionFiles } from '../store/predictions.ts';
import { EXIT } from './errors.ts';
import type { EvalOptions } from './eval-command.ts';
import { comparisonTable, summaryTable } from './evaluation-tables.ts';
import { duration, say } from './render.ts';

/** One line on where the run stands. */
function progressLine(progress: Progress): string {
  const { known, expected, reused, done, missing, seconds, failedRequests, busy, slots } = progress;
  const rate = done / Math.max(seconds, 0.001);
  const tokens = (progress.promptTokens + progress.completionTokens) / Math.max(seconds, 0.001);
  const left = rate > 0 ? `, about ${duration((known - reused - done - missing) / rate)} left` : '';
  return [
    `${reused + done}/${expected ?? `${known}+`} predictions${left}`,
    `${rate.toFixed(1)} a second, ${tokens.toFixed(0)} tokens/s, ${busy} of ${slots} slots busy`,
    ...(failedRequests > 0 ? [`${failedRequests} requests failed and were tried again`] : []),
    ...(missing > 0 ? [`${missing} missing`] : []),
  ].join('; ');
}

/** Shows progress until the function that is returned is called. */
export function showProgress(evaluation: EvaluationRun): () => void {
  const { isTTY } = process.stderr;
  const timer = setInterval(
    () => {
      const line = progressLine(evaluation.progress);
      if (isTTY) logUpdate(line);
      else say(line);
    },
    isTTY ? 500 : 10_000,
  );
  timer.unref();
  return () => {
    clearInterval(timer);
    if (isTTY) logUpdate.clear();
  };
}

/** Prints what a run would ask, and how small a difference between two runs it could show. */
export async function preview(
  benchmark: Benchmark,
  strategies: Strategy[],
  options: EvalOptions,
): Promise<void> {
  const clusters = new Set<string>();
  const left: Record<string, number> = {};
  let questions = 0;
  for await (const { cluster, truth } of benchmark.items()) {
    questions++;
    clusters.add(cluster);
    for (const { name, needsTruth } of strategies)
      if (needsTruth && truth === null) left[name] = (left[name] ?? 0) + 1;
  }
  const predictions = strategies.map(({ name }) => (questions - (left[name] ?? 0)) * options.repeats);
  const detectable = [0.05, 0.1, 0.2].map((discordant) => ({
    discordant,
    difference: minimumDetectableDifference({ questions: clusters.size, discordant }),
  }));
  const found = {
    benchmark: benchmark.name,
    questions,
    clusters: clusters.size,
    predictions: Object.fromEntries(strategies.map(({ name }, index) => [name, predictions[index]])),
    at_most_calls: strategies.reduce(
      (sum, { budget }, index) => sum + budget.calls * (predictions[index] ?? 0),
      0,
    ),
    minimum_detectable_differences: detectable,
  };
  if (options.json === true) return void process.stdout.write(`${JSON.stringify(found, null, 2)}\n`);
  const lines = detectable.map(({ discordant, difference }) =>
    difference === null
      ? `where ${discordant * 100} % of them are answered rightly by one run alone, no difference can be shown`
      : `where ${discordant * 100} % of them are answered rightly by one run alone, a difference of ${(100 * difference).toFixed(1)} points is found 4 times of 5`,
  );
  process.stdout.write(
    `${[
      `${benchmark.title}: ${questions} questions, ${clusters.size} of them independent`,
      ...strategies.map(
        ({ name, budget }, index) =>
          `${name}: ${predictions[index]} predictions, at most ${budget.calls} calls each`,
      ),
      ...lines,
    ].join('\n')}\n`,
  );
}

/** Prints what a run found, and what is missing; sets the exit code where something is. */
export function report(
  store: Store,
  key: string,
  results: Awaited<ReturnType<typeof scoreEvaluation>>,
  result: RunResult,
  json: boolean,
): void {
  const files = predictionFiles(store, key);
  if (json) {
    const { rows: _, ...summary } = results;
    process.stdout.write(
      `${JSON.stringify({ ...summary, ...result, directory: files.directory }, null, 2)}\n`,
    );
  } else {
    const { manifest } = results;
    process.stdout.write(
      `${manifest.title}: ${manifest.count} questions, reasoner ${manifest.labels.reasoner}, perceiver ${manifest.labels.perceiver}, extractor ${results.rules.extractor}\n${summaryTable(results)}\n`,
    );
    const comparisons = comparisonTable(results);
    if (comparisons !== null) process.stdout.write(`${comparisons}\n`);
    for (const [strategy, count] of Object.entries(result.notApplicable))
      process.stdout.write(`${strategy}: ${count} questions have no ground-truth boxes and do not count.\n`);
    process.stdout.write(`Records      ${files.directory}\n`);
  }
  if (result.missing.length === 0) return;
  for (const [reason, rows] of Map.groupBy(result.missing, ({ reason }) => reason))
    say(`${rows.length} predictions are missing: ${reason}`);
  say('Missing is not wrong: no accuracy is given for these strategies. Run the same command to ask again.');
  process.exitCode = EXIT.failed;
}
