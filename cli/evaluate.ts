/** What `p2r eval` does: opens the benchmark, finds or serves the models, runs, scores, prints. */
import path from 'node:path';
import { BenchmarkError } from '../benchmarks/item.ts';
import { firstOf, openBenchmark } from '../benchmarks/open.ts';
import { withShuffledOptions } from '../benchmarks/shuffled.ts';
import { type Endpoint, RequestFailed, servedModel } from '../evaluation/endpoint.ts';
import { judgeAnswers } from '../evaluation/judged.ts';
import { settingsContent } from '../evaluation/keys.ts';
import { scoreEvaluation, writeResults } from '../evaluation/results.ts';
import { EndpointDown, EvaluationRun, type RunResult } from '../evaluation/run.ts';
import { EXTRACTORS, type ExtractorName } from '../method/answers.ts';
import { StrategyUnfit } from '../method/strategies/strategy.ts';
import { canonicalJson, contentKey } from '../store/keys.ts';
import type { Store } from '../store/layout.ts';
import { inspectModel } from '../store/models.ts';
import { EXIT, UserError } from './errors.ts';
import { drawnNeedle, readerTools } from './eval-benchmark.ts';
import { chosen, chosenStrategies, judgeOf, settingsOf } from './eval-choices.ts';
import type { EvalOptions } from './eval-command.ts';
import { preview, report, showProgress } from './eval-output.ts';
import { type ModelServer, serveDirectory } from './model-server.ts';
import { ensurePython } from './python-environment.ts';
import { say } from './render.ts';

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

/** Errors that the user can mend, as one sentence with the exit code that fits. */
function mended(error: unknown): unknown {
  if (error instanceof BenchmarkError || error instanceof StrategyUnfit) return new UserError(error.message);
  if (error instanceof EndpointDown) return new UserError(error.message, EXIT.unavailable);
  if (error instanceof RequestFailed)
    return new UserError(error.message, error.kind === 'misconfigured' ? EXIT.usage : EXIT.unavailable);
  return error;
}
