/** What `p2r eval` does: opens the benchmark, finds or serves the models, runs, scores, prints. */
import path from 'node:path';
import logUpdate from 'log-update';
import { PYTHON, PYTHON_ENV } from '../activities/environment.ts';
import { drawScenes, ScenesFailed, scenesAreThere } from '../activities/scenes.ts';
import { type Benchmark, BenchmarkError } from '../benchmarks/item.ts';
import { firstOf, openBenchmark } from '../benchmarks/open.ts';
import { needleBenchmark } from '../benchmarks/readers/needle.ts';
import { parquetFiles, type ReaderTools } from '../benchmarks/readers/parquet.ts';
import { withShuffledOptions } from '../benchmarks/shuffled.ts';
import { minimumDetectableDifference } from '../benchmarks/statistics/power.ts';
import { type Endpoint, RequestFailed, servedModel } from '../evaluation/endpoint.ts';
import { judgeAnswers } from '../evaluation/judged.ts';
import { settingsContent } from '../evaluation/keys.ts';
import { scoreEvaluation, writeResults } from '../evaluation/results.ts';
import { EndpointDown, EvaluationRun, type Progress, type RunResult } from '../evaluation/run.ts';
import { EXTRACTORS, type ExtractorName } from '../method/answers.ts';
import { IMAGE_RULES, type ImageRulesName } from '../method/images.ts';
import { PROMPT_SETS, type PromptSetName } from '../method/prompts.ts';
import { STRATEGIES, strategyNamed, UNAVAILABLE } from '../method/strategies/index.ts';
import { type Strategy, type StrategySettings, StrategyUnfit } from '../method/strategies/strategy.ts';
import { canonicalJson, contentKey } from '../store/keys.ts';
import type { Store } from '../store/layout.ts';
import { inspectModel } from '../store/models.ts';
import { predictionFiles } from '../store/predictions.ts';
import { planScenes } from '../studies/plan.ts';
import { QuestionKind } from '../studies/study.ts';
import { EXIT, UserError } from './errors.ts';
import type { EvalOptions } from './eval-command.ts';
import { comparisonTable, summaryTable } from './evaluation-tables.ts';
import { type ModelServer, serveDirectory } from './model-server.ts';
import { ensurePython } from './python-environment.ts';
import { duration } from './render.ts';

const say = (line: string) => process.stderr.write(`${line}\n`);

/** Names of a record as a choice of the user; throws a UserError that lists them. */
function chosen<Name extends string>(
  what: string,
  name: string,
  known: Readonly<Record<Name, unknown>>,
): Name {
  if (!Object.hasOwn(known, name))
    throw new UserError(`${what} "${name}" is not known; there are: ${Object.keys(known).join(', ')}.`);
  return name as Name;
}

function chosenStrategies(names: string): Strategy[] {
  return [...new Set(names.split(',').map((name) => name.trim()))].map((name) => {
    const strategy = strategyNamed(name);
    if (strategy !== undefined) return strategy;
    throw new UserError(
      UNAVAILABLE[name] ??
        `The strategy "${name}" is not known; there are: ${STRATEGIES.map((known) => known.name).join(', ')}.`,
    );
  });
}

/** Needle scenes of a split that nothing trains on, with a question of every kind about each; drawn once per size. */
async function drawnNeedle(
  store: Store,
  { questions, split }: Pick<EvalOptions, 'questions' | 'split'>,
): Promise<Benchmark> {
  const kinds = QuestionKind.options;
  if (questions % kinds.length !== 0)
    throw new UserError(
      `--questions must be a multiple of ${kinds.length}: one of each kind (${kinds.join(', ')}) a scene.`,
    );
  const scenes = planScenes(split, questions / kinds.length, kinds.length, kinds, 0);
  const directory = store.scenes(scenes.key);
  const tell = async (fault: string): Promise<void> => {
    say(`The scenes were damaged and are drawn again: ${fault}.`);
  };
  if (!(await scenesAreThere(directory, tell))) {
    await ensurePython(say);
    await drawScenes(store, scenes).catch((error: Error) => {
      throw error instanceof ScenesFailed ? new UserError(error.message, EXIT.failed) : error;
    });
  }
  return needleBenchmark(directory, split);
}

/** What readers of parquet files need; the Python environment is made only where one is read. */
export async function readerTools(store: Store, reference: string): Promise<ReaderTools> {
  const source = reference.slice(reference.indexOf(':') + 1);
  if (parquetFiles(source) !== null) await ensurePython(say);
  return { python: PYTHON, pythonEnvironment: PYTHON_ENV, images: path.join(store.home, 'images') };
}

type Model = { endpoint: Endpoint; fingerprint: string; label: string; server?: ModelServer };

async function modelOf(
  options: { baseUrl?: string; model?: string; checkpoint?: string; fingerprint?: string; label?: string },
  token: string | undefined,
  threads: number,
): Promise<Model> {
  if (options.checkpoint !== undefined) {
    const directory = path.resolve(options.checkpoint);
    const fingerprint = await inspectModel(directory);
    await ensurePython(say);
    const server = await serveDirectory(directory, threads);
    return {
      endpoint: server.endpoint,
      fingerprint,
      label: options.label ?? path.basename(directory),
      server,
    };
  }
  if (options.baseUrl === undefined || options.model === undefined)
    throw new UserError('Say who answers: --base-url and --model, or --checkpoint.');
  const endpoint = { url: options.baseUrl, model: options.model, token: token ?? 'none' };
  const served = await servedModel(endpoint, 5000);
  const known = { url: endpoint.url, model: endpoint.model, root: served?.root ?? null };
  return {
    endpoint,
    fingerprint: options.fingerprint ?? canonicalJson(known),
    label: options.label ?? endpoint.model,
  };
}

/** The judge's endpoint; null where none was named. */
function judgeOf({ judgeBaseUrl, judgeModel }: EvalOptions): Endpoint | null {
  if (judgeBaseUrl === undefined && judgeModel === undefined) return null;
  if (judgeBaseUrl === undefined || judgeModel === undefined)
    throw new UserError('A judge needs both --judge-base-url and --judge-model.');
  return { url: judgeBaseUrl, model: judgeModel, token: process.env.P2R_JUDGE_TOKEN ?? 'none' };
}

function settingsOf(options: EvalOptions, needle: boolean): StrategySettings {
  const promptSet: PromptSetName = chosen(
    'The prompt set',
    options.promptSet ?? (needle ? 'paper' : 'authors-evaluation'),
    PROMPT_SETS,
  );
  const rules: ImageRulesName = chosen(
    'The image rules',
    options.imageRules ?? (needle ? 'tiny' : 'paper-evaluation'),
    IMAGE_RULES,
  );
  if (options.repeats > 1 && options.temperature === 0)
    throw new UserError('--repeats above 1 needs a --temperature: greedy answers are all the same.');
  return {
    promptSet,
    imageRules: IMAGE_RULES[rules],
    perceiverMaxTokens: options.perceiverMaxTokens ?? (needle ? 130 : 256),
    reasonerMaxTokens: options.maxTokens ?? (needle ? 60 : 1024),
    temperature: options.temperature,
    ...(options.repetitionPenalty === undefined ? {} : { repetitionPenalty: options.repetitionPenalty }),
  };
}

/** One line on where the run stands. */
export function progressLine(progress: Progress): string {
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

function showProgress(evaluation: EvaluationRun): () => void {
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

/** Runs the command. Sets the exit code: 0 complete, 1 answers are missing. Throws a UserError for everything the user can mend. */
export async function evaluate(store: Store, options: EvalOptions): Promise<void> {
  const strategies = chosenStrategies(options.strategies);
  if (options.name?.startsWith('evaluation-'))
    throw new UserError('--name must not begin with "evaluation-": such names are those of experiments.');
  const extractor: ExtractorName = chosen('The extractor', options.extractor, EXTRACTORS);
  const judge = judgeOf(options);
  const needle = options.benchmark === 'needle' || options.benchmark.startsWith('needle:');
  const settings = settingsOf(options, needle);
  const models: Model[] = [];
  try {
    const opened =
      options.benchmark === 'needle'
        ? await drawnNeedle(store, options)
        : await openBenchmark(options.benchmark, await readerTools(store, options.benchmark));
    const limited = options.limit === undefined ? opened : firstOf(opened, options.limit);
    const benchmark =
      options.shuffleOptions === undefined ? limited : withShuffledOptions(limited, options.shuffleOptions);
    if (options.dryRun === true) return await preview(benchmark, strategies, options);
    const reasoner = await modelOf(options, process.env.P2R_ENDPOINT_TOKEN, options.threads);
    models.push(reasoner);
    const { perceiverBaseUrl, perceiverModel, perceiverCheckpoint, perceiverFingerprint, perceiverLabel } =
      options;
    const other =
      perceiverBaseUrl !== undefined || perceiverModel !== undefined || perceiverCheckpoint !== undefined;
    const perceiver = other
      ? await modelOf(
          {
            ...(perceiverCheckpoint === undefined ? {} : { checkpoint: perceiverCheckpoint }),
            baseUrl: perceiverBaseUrl ?? options.baseUrl ?? '',
            model: perceiverModel ?? options.model ?? '',
            ...(perceiverFingerprint === undefined ? {} : { fingerprint: perceiverFingerprint }),
            ...(perceiverLabel === undefined ? {} : { label: perceiverLabel }),
          },
          process.env.P2R_PERCEIVER_TOKEN ?? process.env.P2R_ENDPOINT_TOKEN,
          options.threads,
        )
      : reasoner;
    if (other) models.push(perceiver);
    const fingerprints = { perceiver: perceiver.fingerprint, reasoner: reasoner.fingerprint };
    const key =
      options.name ??
      contentKey('eval', {
        benchmark: benchmark.name,
        files: benchmark.files,
        models: fingerprints,
        settings: settingsContent(settings),
        strategies: strategies.map(({ name }) => name),
        repeats: options.repeats,
      });
    const rules = { extractor, imageRules: settings.imageRules, grounding: options.grounding };
    const abort = new AbortController();
    const interrupt = () =>
      abort.abort(new UserError('Stopped; run the same command to go on.', EXIT.interrupted));
    process.once('SIGINT', interrupt);
    process.once('SIGTERM', interrupt);
    const evaluation = new EvaluationRun(
      {
        key,
        benchmark,
        strategies,
        settings,
        repeats: options.repeats,
        models: fingerprints,
        labels: { perceiver: perceiver.label, reasoner: reasoner.label },
        rules,
      },
      {
        store,
        at: (role, request) => request((role === 'perceiver' ? perceiver : reasoner).endpoint),
        concurrency: options.concurrency,
        timeout: options.timeout * 1000,
        retries: options.retries,
        retryDelay: 500,
        slowestRetry: 15_000,
        patience: Math.max(100, 8 * options.concurrency),
        signal: abort.signal,
      },
    );
    const hide = showProgress(evaluation);
    let result: RunResult;
    let judged: Map<string, boolean | null> | undefined;
    try {
      result = await evaluation.run().finally(hide);
      if (judge !== null)
        judged = await judgeAnswers(store, key, extractor, {
          endpoint: judge,
          concurrency: options.concurrency,
          timeout: options.timeout * 1000,
          signal: abort.signal,
        });
    } finally {
      process.removeListener('SIGINT', interrupt);
      process.removeListener('SIGTERM', interrupt);
    }
    const results = await scoreEvaluation(store, key, judged === undefined ? rules : { ...rules, judged });
    await writeResults(store, results);
    report(store, key, results, result, options.json === true);
    const { published, count } = results.manifest;
    if (published !== null && published !== count)
      say(
        `The published file has ${published} questions, this one ${count}: its numbers are another benchmark's.`,
      );
    const unjudged = [...(judged?.values() ?? [])].filter((verdict) => verdict === null).length;
    if (unjudged > 0) {
      say(
        `The judge gave no verdict on ${unjudged} answers; they are missing. Run the same command to ask again.`,
      );
      process.exitCode = EXIT.failed;
    }
  } catch (error) {
    throw mended(error);
  } finally {
    for (const { server } of models) await server?.[Symbol.asyncDispose]();
  }
}

/** Prints what a run would ask, and how small a difference between two runs it could show. */
async function preview(benchmark: Benchmark, strategies: Strategy[], options: EvalOptions): Promise<void> {
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

function report(
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

/** Errors that the user can mend, as one sentence with the exit code that fits. */
function mended(error: unknown): unknown {
  if (error instanceof BenchmarkError || error instanceof StrategyUnfit) return new UserError(error.message);
  if (error instanceof EndpointDown) return new UserError(error.message, EXIT.unavailable);
  if (error instanceof RequestFailed)
    return new UserError(error.message, error.kind === 'misconfigured' ? EXIT.usage : EXIT.unavailable);
  return error;
}
