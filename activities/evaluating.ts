/** Evaluates one checkpoint in both roles on held-out scenes. Predictions are kept one by one; scores come from all of them or not at all. */
import { ApplicationFailure } from '@temporalio/common';
import pLimit from 'p-limit';
import pRetry from 'p-retry';
import { type Box, boxIou } from '../method/boxes.ts';
import { IMAGE_RULES } from '../method/images.ts';
import { wilsonInterval } from '../method/intervals.ts';
import { randomBoxes } from '../method/random-boxes.ts';
import {
  evaluationFiles,
  Prediction,
  readScores,
  type Scores,
  type StrategyScores,
} from '../store/evaluations.ts';
import { JsonLinesWriter, readJsonLines, writeJson } from '../store/files.ts';
import { contentKey } from '../store/keys.ts';
import type { Store } from '../store/layout.ts';
import { readSamples, type Sample } from '../store/samples.ts';
import type { Strategy, Study } from '../studies/study.ts';
import type { EvaluationPlan } from '../workflows/types.ts';
import { beating, cancelled } from './heartbeats.ts';
import { boxRows, perceptionMetrics, truthBoxes, verdict } from './judging.ts';
import { serviceFiles } from './phase-files.ts';
import { Roles } from './roles.ts';

/** Activity factory. */
export function createEvaluationActivities(store: Store) {
  return {
    /** Whether scores.json of this key is there and readable. */
    async evaluationIsComplete({ key }: { key: string }): Promise<boolean> {
      return (await readScores(store, key).catch(() => null)) !== null;
    },

    /** Asks what has not been asked yet, then writes scores.json. A server that is away is waited for. */
    async evaluateModel({ study, evaluation }: { study: Study; evaluation: EvaluationPlan }): Promise<void> {
      using _beat = beating(() => ({ evaluation: evaluation.key }));
      const files = evaluationFiles(store, evaluation.key);
      const samples = await readSamples(store.scenes(evaluation.scenes.key));
      const roles = new Roles({
        endpointFile: serviceFiles(store.evaluation(evaluation.key)).modelEndpoint,
        promptSet: study.prompt_set,
        imageRules: IMAGE_RULES[study.evaluation.image_rules ?? study.image_rules],
        perceiverMaxTokens: study.evaluation.perceiver_max_tokens,
        reasonerMaxTokens: study.evaluation.reasoner_max_tokens,
      });
      const done = new Map((await readJsonLines(files.predictions, Prediction)).map((row) => [row.key, row]));
      const writer = new JsonLinesWriter(files.predictions);
      const limit = pLimit(study.evaluation.concurrency);
      const abort = new AbortController();
      const tasks = evaluation.strategies.flatMap((strategy) =>
        samples.map((sample) => ({ strategy, sample })),
      );
      const work = Promise.all(
        tasks.map(({ strategy, sample }) =>
          limit(async () => {
            const key = contentKey('prediction', {
              evaluation: evaluation.key,
              strategy,
              sample: sample.sample_id,
            });
            const known = done.get(key);
            if (known !== undefined) return known;
            const prediction = await pRetry(() => predict(roles, study, strategy, sample, key), {
              retries: 1000,
              minTimeout: 200,
              maxTimeout: 3000,
              signal: abort.signal,
            });
            await writer.append(prediction);
            return prediction;
          }),
        ),
      );
      try {
        const predictions = await Promise.race([work, cancelled()]);
        const scores: Scores = {
          key: evaluation.key,
          checkpoint: evaluation.model.name,
          model_key: evaluation.model.key,
          strategies: Object.fromEntries(
            evaluation.strategies.map((strategy) => [
              strategy,
              score(
                predictions.filter((row) => row.strategy === strategy),
                samples.length,
              ),
            ]),
          ),
        };
        await writeJson(files.scores, scores);
      } finally {
        abort.abort();
        await work.catch(() => undefined);
      }
    },
  };
}

async function predict(
  roles: Roles,
  study: Study,
  strategy: Strategy,
  sample: Sample,
  key: string,
): Promise<Prediction> {
  const row = { key, sample_id: sample.sample_id, strategy, kind: sample.kind };
  const answered = (text: string) => {
    const { answer, correct } = verdict(study.extractor, sample, text);
    return { text, extracted_answer: answer, correct };
  };
  switch (strategy) {
    case 'direct':
      return {
        ...row,
        perceiver_text: null,
        boxes: [],
        ...answered(await roles.direct(sample)),
        metrics: {},
      };
    case 'p2r': {
      const perceiverText = await roles.perceive(sample);
      const { boxes, metrics } = perceptionMetrics(sample, perceiverText, roles.imageRules);
      const text = await roles.reason(sample, await roles.evidence(sample, perceiverText));
      return {
        ...row,
        perceiver_text: perceiverText,
        boxes: boxRows(boxes),
        ...answered(text),
        metrics,
      };
    }
    case 'grounding': {
      const perceiverText = await roles.perceive(sample);
      const { boxes, metrics } = perceptionMetrics(sample, perceiverText, roles.imageRules);
      const found = truthBoxes(sample).every((target) => boxes.some((box) => boxIou(box, target) >= 0.5));
      return {
        ...row,
        perceiver_text: perceiverText,
        boxes: boxRows(boxes),
        text: perceiverText,
        extracted_answer: null,
        correct: found,
        metrics,
      };
    }
    case 'oracle':
    case 'random':
    case 'none': {
      const boxes = givenBoxes(strategy, sample);
      const text = await roles.reason(sample, await roles.evidenceFrom(sample, boxes));
      return { ...row, perceiver_text: null, boxes: boxRows(boxes), ...answered(text), metrics: {} };
    }
  }
}

/** Boxes that a strategy is given instead of asking the perceiver. */
function givenBoxes(strategy: 'oracle' | 'random' | 'none', sample: Sample): Box[] {
  if (strategy === 'none') return [];
  const truth = truthBoxes(sample);
  return strategy === 'oracle' ? truth : randomBoxes(truth, sample, sample.sample_id);
}

/** Accuracy with its interval and the means of the box metrics. Throws when a prediction is missing: nothing is scored in part. */
export function score(rows: Prediction[], expected: number): StrategyScores {
  if (rows.length !== expected)
    throw ApplicationFailure.retryable(
      `${expected - rows.length} of ${expected} predictions are missing.`,
      'PredictionsMissing',
    );
  const correct = rows.filter((row) => row.correct).length;
  const mean = (name: string) => {
    const values = rows.flatMap((row) => row.metrics[name] ?? []);
    return values.length === 0 ? null : values.reduce((sum, value) => sum + value, 0) / values.length;
  };
  const kinds = [...new Set(rows.map((row) => row.kind))].sort();
  return {
    accuracy: correct / rows.length,
    interval: wilsonInterval(correct, rows.length),
    correct,
    count: rows.length,
    hit_rate: mean('hit_rate'),
    iou: mean('iou'),
    box_count: mean('box_count'),
    box_size: mean('box_size'),
    by_kind: Object.fromEntries(
      kinds.map((kind) => {
        const ofKind = rows.filter((row) => row.kind === kind);
        return [
          kind,
          { accuracy: ofKind.filter((row) => row.correct).length / ofKind.length, count: ofKind.length },
        ];
      }),
    ),
  };
}
