/** Evaluates one checkpoint in both roles on held-out scenes, with the runner of `p2r eval`. Scores come from all predictions or not at all. */
import path from 'node:path';
import { ApplicationFailure } from '@temporalio/common';
import { type Benchmark, BenchmarkError } from '../benchmarks/item.ts';
import { joinBenchmarks } from '../benchmarks/joined.ts';
import { openBenchmark } from '../benchmarks/open.ts';
import { needleBenchmark } from '../benchmarks/readers/needle.ts';
import type { StrategySummary } from '../benchmarks/scoring.ts';
import { RequestFailed } from '../evaluation/endpoint.ts';
import { scoreEvaluation } from '../evaluation/results.ts';
import { EvaluationRun } from '../evaluation/run.ts';
import { IMAGE_RULES } from '../method/images.ts';
import { strategyNamed } from '../method/strategies/index.ts';
import type { ModelRole } from '../method/strategies/strategy.ts';
import {
  evaluationFiles,
  readScores,
  type Scores,
  type StrategyScores,
  scoredFiles,
  scoresFault,
} from '../store/evaluations.ts';
import { appendEvent } from '../store/experiments.ts';
import { readJson, writeJson } from '../store/files.ts';
import type { Store } from '../store/layout.ts';
import { setAside } from '../store/manifest.ts';
import { predictionFiles } from '../store/predictions.ts';
import type { Study } from '../studies/study.ts';
import type { EvaluationPlan } from '../workflows/types.ts';
import { PROJECT, PYTHON, PYTHON_ENV } from './environment.ts';
import { beating, untilCancelled } from './heartbeats.ts';
import { serviceFiles } from './phase-files.ts';
import { Replicas } from './replicas.ts';
import { Endpoint } from './roles.ts';

/** Activity factory. */
export function createEvaluationActivities(store: Store) {
  return {
    /**
     * Whether scores.json of this key is there, and what it rests on is as it was. Damaged files are set aside and told to the `user`;
     * then their questions are asked anew.
     */
    async evaluationIsComplete({
      key,
      user,
    }: {
      key: string;
      user?: { experiment: string; part: string };
    }): Promise<boolean> {
      const scores = await readScores(store, key).catch((error: Error) => error);
      if (scores === null) return false;
      const fault = scores instanceof Error ? scores.message : await scoresFault(store, scores);
      if (fault === null) return true;
      const files = predictionFiles(store, key);
      const damaged =
        scores instanceof Error ? [files.scores] : [files.calls, files.predictions, files.scores];
      const aside: (string | null)[] = [];
      for (const file of damaged) aside.push(await setAside(file).catch(() => null));
      if (user !== undefined)
        await appendEvent(store, user.experiment, {
          type: 'predictions-damaged',
          phase: user.part,
          key,
          detail: { message: fault, aside: aside.filter((name) => name !== null).join(', ') },
        });
      return false;
    },

    /** Asks what has not been asked yet, then writes scores.json. A server that is away is waited for. */
    async evaluateModel({ study, evaluation }: { study: Study; evaluation: EvaluationPlan }): Promise<void> {
      using _beat = beating(() => ({ evaluation: evaluation.key }));
      const { key, model } = evaluation;
      const perceiver = evaluation.perceiver ?? model;
      const owner = store.evaluation(key);
      const reasonerFile = serviceFiles(owner).modelEndpoint;
      const imageRules = IMAGE_RULES[study.evaluation.image_rules ?? study.image_rules];
      const benchmark = await questionsOf(store, study, evaluation);
      // A needle question needs every object that it names; a published query is about one region, however it is cut up.
      const grounding = study.evaluation.benchmarks === undefined ? 'each' : 'union';
      const rules = { extractor: study.extractor, imageRules, grounding } as const;
      const { missing } = await untilCancelled((signal) =>
        new EvaluationRun(
          {
            key,
            benchmark,
            strategies: evaluation.strategies.map((name) => {
              const strategy = strategyNamed(name);
              if (strategy === undefined)
                throw ApplicationFailure.nonRetryable(`"${name}" is no strategy.`, 'ConfigInvalid');
              return strategy;
            }),
            settings: {
              promptSet: study.prompt_set,
              imageRules,
              perceiverMaxTokens: study.evaluation.perceiver_max_tokens,
              reasonerMaxTokens: study.evaluation.reasoner_max_tokens,
              temperature: 0,
            },
            repeats: 1,
            models: { perceiver: perceiver.key, reasoner: model.key },
            labels: { perceiver: perceiver.name, reasoner: model.name },
            rules,
          },
          {
            store,
            at: servedBy({
              reasoner: reasonerFile,
              perceiver:
                evaluation.perceiver === undefined
                  ? reasonerFile
                  : serviceFiles(path.join(owner, 'perceiver')).modelEndpoint,
            }),
            concurrency: study.evaluation.concurrency,
            timeout: 300_000,
            retries: Number.POSITIVE_INFINITY,
            retryDelay: 200,
            slowestRetry: 3000,
            patience: Number.POSITIVE_INFINITY,
            signal,
          },
        ).run(),
      );
      if (missing.length > 0)
        throw ApplicationFailure.retryable(
          `${missing.length} predictions are missing: ${missing[0]?.reason}`,
          'PredictionsMissing',
        );
      const { summaries } = await scoreEvaluation(store, key, rules);
      const scores: Scores = {
        key,
        checkpoint: evaluation.checkpoint,
        model_key: model.key,
        strategies: Object.fromEntries(summaries.map((summary) => [summary.strategy, scoresOf(summary)])),
        files: await scoredFiles(store, key),
      };
      await writeJson(evaluationFiles(store, key).scores, scores);
    },
  };
}

/** What is asked: the held-out scenes, or the study's benchmarks. Fails (DatasetInvalid) where one of them cannot be opened. */
async function questionsOf(store: Store, study: Study, evaluation: EvaluationPlan): Promise<Benchmark> {
  const [first, ...others] = (study.evaluation.benchmarks ?? []).map(({ source }) => {
    const colon = source.indexOf(':');
    const reference = `${source.slice(0, colon)}:${path.resolve(PROJECT, source.slice(colon + 1))}`;
    const images = path.join(store.home, 'images');
    return openBenchmark(reference, { python: PYTHON, pythonEnvironment: PYTHON_ENV, images });
  });
  if (first === undefined) return needleBenchmark(store.scenes(evaluation.scenes.key));
  try {
    return joinBenchmarks([await first, ...(await Promise.all(others))]);
  } catch (error) {
    if (!(error instanceof BenchmarkError)) throw error;
    throw ApplicationFailure.nonRetryable(error.message, 'DatasetInvalid');
  }
}

/** Gives each request the least busy server of its role's endpoint file, which is read again every time: a restarted server is found. */
function servedBy(endpointFiles: Record<ModelRole, string>) {
  const replicas = new Replicas();
  return async <T>(role: ModelRole, request: (endpoint: Endpoint) => Promise<T>): Promise<T> => {
    const endpoint = await readJson(endpointFiles[role], Endpoint).catch(() => null);
    if (endpoint === null) throw new RequestFailed('unavailable', 'the model server is not ready');
    return replicas.run(endpoint.urls ?? [endpoint.url], (url) => request({ ...endpoint, url }));
  };
}

/** A complete summary as scores.json has it. Throws where predictions are missing. */
export function scoresOf({ strategy, count, missing, overall, byCategory, dynamics }: StrategySummary) {
  if (overall === null)
    throw ApplicationFailure.retryable(
      `${missing} of ${count} predictions of ${strategy} are missing.`,
      'PredictionsMissing',
    );
  const { accuracy, interval, correct } = overall;
  return {
    accuracy,
    interval,
    correct,
    count,
    hit_rate: dynamics?.hit_rate ?? null,
    iou: dynamics?.iou ?? null,
    box_count: dynamics?.box_count ?? null,
    box_size: dynamics?.box_size ?? null,
    by_kind: Object.fromEntries(
      byCategory.map((part) => [part.category, { accuracy: part.accuracy, count: part.count }]),
    ),
  } satisfies StrategyScores;
}
