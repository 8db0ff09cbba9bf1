/** The evaluation page: every strategy of every checkpoint, two of them side by side, one sample over all of them. */
import { z } from 'zod';
import { attributionCounts } from '../../benchmarks/statistics/attribution.ts';
import { clusterBootstrap } from '../../benchmarks/statistics/bootstrap.ts';
import { agreement, mcnemarExact } from '../../benchmarks/statistics/paired.ts';
import { wilsonInterval } from '../../method/intervals.ts';
import { answersPerSecond, evaluationFiles, evaluationSeconds, Prediction } from '../../store/evaluations.ts';
import type { Store } from '../../store/layout.ts';
import type {
  Attribution,
  BoxView,
  EvaluationPage,
  EvaluationRow,
  PairedView,
  SampleHistory,
  StrategyAnswers,
} from './api.ts';
import { cropRegions } from './rollouts.ts';
import type { Samples } from './samples.ts';
import { JsonLinesTail } from './tail.ts';
import { type ExperimentReading, experimentDetail } from './view.ts';

/** An evaluation may have image rules of its own. */
const EvaluationRules = z.looseObject({ image_rules: z.string().optional() });

/** One column of answers: an evaluation's id and one of its strategies. */
export type AnswerColumn = { evaluation: string; strategy: string };

/** The predictions of one home. */
export type Predictions = ReturnType<typeof openPredictions>;

/** Opens a home's predictions; each file is read when it is first asked for. */
export function openPredictions(store: Store, samples: Samples) {
  const tails = new Map<string, JsonLinesTail<Prediction>>();

  /** The newest prediction of each sample and strategy: an evaluation that was interrupted may hold one twice. */
  async function predictions(key: string): Promise<Prediction[]> {
    const tail = tails.get(key) ?? new JsonLinesTail(evaluationFiles(store, key).predictions, Prediction);
    tails.set(key, tail);
    await tail.update();
    return [...new Map(tail.rows.map((row) => [`${row.strategy} ${row.sample_id}`, row])).values()];
  }

  async function column(
    reading: ExperimentReading,
    wanted: AnswerColumn,
  ): Promise<Map<string, Prediction> | null> {
    const evaluation = reading.record.evaluations.find(({ id }) => id === wanted.evaluation);
    if (evaluation === undefined) return null;
    const rows = (await predictions(evaluation.key)).filter(({ strategy }) => strategy === wanted.strategy);
    return new Map(rows.map((row) => [row.sample_id, row]));
  }

  return {
    /** The tables: scores, where the errors come from, how fast it went. */
    async page(reading: ExperimentReading): Promise<EvaluationPage> {
      const detail = experimentDetail(reading);
      const rows: EvaluationRow[] = [];
      for (const evaluation of detail.evaluations) {
        const found = await predictions(evaluation.key);
        const seconds = await evaluationSeconds(store, evaluation.key, reading.events);
        const rates = seconds === null ? null : answersPerSecond(seconds, found);
        for (const score of evaluation.strategies) {
          const byKind = reading.scores.get(evaluation.key)?.strategies[score.strategy]?.by_kind ?? {};
          rows.push({
            ...score,
            evaluation: evaluation.id,
            checkpoint: evaluation.checkpoint,
            at: evaluation.at,
            by_kind: Object.fromEntries(
              Object.entries(byKind).map(([kind, { accuracy, count }]) => [
                kind,
                { accuracy, count, interval: wilsonInterval(Math.round(accuracy * count), count) },
              ]),
            ),
            attribution: attribution(found.filter(({ strategy }) => strategy === score.strategy)),
            samples_per_second: rates?.get(score.strategy) ?? null,
          });
        }
      }
      return { rows, problems: reading.problems };
    },

    /** The strategies of an evaluation sample by sample; null when there is no such evaluation or it holds no answers. */
    async answers(reading: ExperimentReading, id: string): Promise<StrategyAnswers | null> {
      const evaluation = reading.record.evaluations.find((one) => one.id === id);
      if (evaluation === undefined) return null;
      const asked = Object.keys(reading.scores.get(evaluation.key)?.strategies ?? {});
      return strategyAnswers(id, await predictions(evaluation.key), asked);
    },

    /** Two columns on the samples that both answered; null when a column does not exist or they share no sample. */
    async pair(reading: ExperimentReading, a: AnswerColumn, b: AnswerColumn): Promise<PairedView | null> {
      const [left, right] = [await column(reading, a), await column(reading, b)];
      return left === null || right === null ? null : paired(left, right);
    },

    /** One sample's answers, in the order of the checkpoints. */
    async history(reading: ExperimentReading, sampleId: string): Promise<SampleHistory> {
      const history: SampleHistory = { sample: await samples.find(sampleId, null), predictions: [] };
      const { config } = reading.record;
      const imageRules = EvaluationRules.safeParse(config.evaluation).data?.image_rules ?? config.image_rules;
      for (const evaluation of experimentDetail(reading).evaluations) {
        for (const row of await predictions(evaluation.key)) {
          if (row.sample_id !== sampleId) continue;
          const boxes = row.boxes as BoxView[];
          history.predictions.push({
            evaluation: evaluation.id,
            checkpoint: evaluation.checkpoint,
            at: evaluation.at,
            strategy: row.strategy,
            sample_id: row.sample_id,
            kind: row.kind,
            perceiver_text: row.perceiver_text,
            text: row.text,
            extracted_answer: row.extracted_answer,
            correct: row.correct,
            boxes,
            crops: cropRegions(boxes, history.sample, imageRules),
            hit_rate: row.metrics.hit_rate ?? null,
            iou: row.metrics.iou ?? null,
          });
        }
      }
      return history;
    },
  };
}

/** How often every true box was hit, and the answer right, together; null when no answer has boxes to hit. */
export function attribution(predictions: Prediction[]): Attribution | null {
  const counts: Attribution = { hit_right: 0, hit_wrong: 0, miss_right: 0, miss_wrong: 0 };
  for (const { metrics, correct } of predictions) {
    const rate = metrics.hit_rate;
    if (rate === undefined || rate === null) continue;
    counts[`${rate >= 1 ? 'hit' : 'miss'}_${correct ? 'right' : 'wrong'}`]++;
  }
  return Object.values(counts).some((count) => count > 0) ? counts : null;
}

/**
 * The strategies of an evaluation against each other, on the samples that all of them answered; null when there is no answer. They stand in
 * the order in which the study `asked` them, not in that of the first answers.
 */
export function strategyAnswers(
  evaluation: string,
  predictions: Prediction[],
  asked: string[],
): StrategyAnswers | null {
  const byStrategy = Map.groupBy(predictions, ({ strategy }) => strategy);
  const strategies = [...new Set([...asked.filter((name) => byStrategy.has(name)), ...byStrategy.keys()])];
  const columns = strategies.map(
    (name) => new Map(byStrategy.get(name)?.map((row) => [row.sample_id, row] as const)),
  );
  const samples = [...(columns[0]?.values() ?? [])]
    .filter(({ sample_id }) => columns.every((column) => column.has(sample_id)))
    .map(({ sample_id, kind }) => ({
      sample_id,
      kind,
      right: columns.map((column) => column.get(sample_id)?.correct === true),
    }));
  if (samples.length === 0) return null;
  const place = (strategy: string) => strategies.indexOf(strategy);
  const [p2r, oracle, none] = [place('p2r'), place('oracle'), place('none')];
  return {
    evaluation,
    strategies,
    samples: samples.length,
    confusion: strategies.map((_, a) =>
      strategies.map((_, b) => samples.filter(({ right }) => right[a] && (a === b || !right[b])).length),
    ),
    patterns: [...Map.groupBy(samples, ({ right }) => right.join()).values()]
      .map((same) => ({
        right: same[0]?.right ?? [],
        samples: same.map(({ sample_id, kind }) => ({ sample_id, kind })),
      }))
      .sort((a, b) => b.samples.length - a.samples.length),
    attribution:
      p2r < 0 || oracle < 0
        ? null
        : attributionCounts(
            samples.map(({ right }) => ({
              predicted: right[p2r] === true,
              oracle: right[oracle] === true,
              without: none < 0 ? null : right[none] === true,
            })),
          ),
  };
}

/** Compares two columns of answers on the samples that both have, taken as independent; null when there is none. */
export function paired(
  a: ReadonlyMap<string, { correct: boolean; kind: string }>,
  b: ReadonlyMap<string, { correct: boolean; kind: string }>,
): PairedView | null {
  const pairs = [...a].flatMap(([id, left]) => {
    const right = b.get(id);
    return right === undefined ? [] : [{ id, kind: left.kind, a: left.correct, b: right.correct }];
  });
  if (pairs.length === 0) return null;
  const { both, onlyA, onlyB, neither } = agreement(pairs);
  return {
    count: pairs.length,
    both_right: both,
    only_a: onlyA,
    only_b: onlyB,
    both_wrong: neither,
    difference: (onlyB - onlyA) / pairs.length,
    interval: clusterBootstrap(
      pairs.map((pair) => ({ cluster: pair.id, value: Number(pair.b) - Number(pair.a) })),
    ),
    p_value: mcnemarExact(onlyA, onlyB),
    changed: pairs
      .filter((pair) => pair.a !== pair.b)
      .map(({ id, kind, a: left }) => ({ sample_id: id, kind, better: left ? 'a' : 'b' })),
  };
}
