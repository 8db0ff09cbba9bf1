/** From stored predictions to numbers: nothing is asked here, so that an evaluation can be scored again in any way. */
import { type ExtractorName, extractAnswer, isCorrect } from '../method/answers.ts';
import { type Box, boxIou } from '../method/boxes.ts';
import { type BoxDynamics, boxDynamics, meanDynamics } from '../method/dynamics.ts';
import type { ImageRules } from '../method/image-rules.ts';
import { wilsonInterval } from '../method/intervals.ts';
import { type Cost, type ItemRow, noCost, type PredictionRow } from '../store/predictions.ts';
import { clusterBootstrap } from './statistics/bootstrap.ts';
import { type PositionBias, permutationConsistency, positionBias } from './statistics/letters.ts';
import { majAtK, passAtK } from './statistics/repeats.ts';

/**
 * How boxes alone are right, at IoU > 0.5: `union` compares the union of the predicted with the union of the true boxes, `best` the best
 * single predicted box with that union, and `each` wants a predicted box for every true one (its IoU is the least of their best ones).
 */
export const GROUNDING_PROTOCOLS = ['union', 'best', 'each'] as const;

/** One of {@link GROUNDING_PROTOCOLS}. */
export type GroundingProtocol = (typeof GROUNDING_PROTOCOLS)[number];

/** What decides a verdict. */
export type ScoringRules = {
  extractor: ExtractorName;
  imageRules: ImageRules;
  grounding: GroundingProtocol;
  /** Verdicts of a judge on free text, by prediction key; `null` where it gave none (missing); what is not here is compared as text. */
  judged?: ReadonlyMap<string, boolean | null>;
};

/** One prediction with its verdict. */
export type ScoredRow = {
  key: string;
  item: string;
  strategy: string;
  repeat: number;
  category: string[];
  cluster: string;
  reference: string;
  answer: string | null;
  how: string;
  correct: boolean;
  dynamics: BoxDynamics | null;
  /** Grounding only: IoU under the protocol. */
  iou: number | null;
  stop: PredictionRow['stop'];
  cost: Cost;
};

/**
 * A share with its uncertainty. `interval` is Wilson's where every question is a cluster of its own, else a cluster bootstrap; where all
 * or none are right a bootstrap knows no spread, and the interval is Wilson's over clusters.
 */
export type Share = {
  correct: number;
  count: number;
  accuracy: number;
  interval: [number, number];
  method: 'wilson' | 'cluster bootstrap' | 'wilson of clusters';
};

/** One strategy over one benchmark. */
export type StrategySummary = {
  strategy: string;
  /** Predictions that must be there: questions times repeats. */
  count: number;
  missing: number;
  /** `null` while predictions are missing: a rate over the others would be another benchmark's. */
  overall: Share | null;
  /** Least and largest accuracy that the missing predictions still allow. */
  bounds: [number, number];
  byCategory: ({ category: string } & Share)[];
  /** Mean of the finest categories' accuracies ("Avg-C"). */
  categoryMean: number | null;
  unread: number;
  stops: Record<string, number>;
  dynamics: (BoxDynamics & { samples: number }) | null;
  cost: Cost;
  notes: Record<string, number>;
  positionBias: PositionBias | null;
  permutations: { groups: number; allRight: number; flips: number } | null;
  repeats: { n: number; pass: Record<string, number>; maj: number } | null;
};

function toBox([x1, y1, x2, y2]: readonly [number, number, number, number]): Box {
  return { x1, y1, x2, y2, label: '' };
}

/** The smallest box around all; `null` for none. */
export function unionBox(boxes: readonly Box[]): Box | null {
  if (boxes.length === 0) return null;
  return {
    x1: Math.min(...boxes.map(({ x1 }) => x1)),
    y1: Math.min(...boxes.map(({ y1 }) => y1)),
    x2: Math.max(...boxes.map(({ x2 }) => x2)),
    y2: Math.max(...boxes.map(({ y2 }) => y2)),
    label: '',
  };
}

/** IoU of predicted with true boxes under a protocol; 0 where nothing was predicted. */
export function groundingIou(
  predicted: readonly Box[],
  truth: readonly Box[],
  protocol: GroundingProtocol,
): number {
  const target = unionBox(truth);
  if (target === null) return 0;
  const best = (target: Box) => predicted.reduce((most, box) => Math.max(most, boxIou(box, target)), 0);
  if (protocol === 'best') return best(target);
  if (protocol === 'each') return Math.min(...truth.map(best));
  const union = unionBox(predicted);
  return union === null ? 0 : boxIou(union, target);
}

/** The verdict on one prediction. */
export function scoreRow(
  item: Omit<ItemRow, 'image' | 'predictions'>,
  row: PredictionRow,
  rules: ScoringRules,
  grounds: boolean,
): ScoredRow {
  const truth = item.truth?.map(toBox) ?? null;
  const boxes = row.boxes.map(toBox);
  const shared = {
    key: row.key,
    item: item.id,
    strategy: row.strategy,
    repeat: row.repeat,
    category: item.category,
    cluster: item.cluster,
    reference: item.answer,
    stop: row.stop,
    cost: row.cost,
    dynamics:
      boxes.length === 0 && row.perceiver_text === null
        ? null
        : boxDynamics(boxes, truth ?? [], { width: row.width, height: row.height }, rules.imageRules),
  };
  if (grounds) {
    const iou = groundingIou(boxes, truth ?? [], rules.grounding);
    return { ...shared, answer: null, how: `iou:${rules.grounding}`, correct: iou > 0.5, iou };
  }
  const sample = { form: item.form, options: item.options };
  const { answer, how } = extractAnswer(rules.extractor, row.text, sample);
  const judged = rules.judged?.get(row.key);
  const correct = judged ?? isCorrect(answer, item.answer, sample);
  return { ...shared, answer, how: judged === undefined ? how : 'judge', correct, iou: null };
}

/** Accuracy with its interval. Throws a RangeError for no rows. */
export function shareOf(rows: readonly { cluster: string; correct: boolean }[]): Share {
  const correct = rows.filter((row) => row.correct).length;
  const clusters = new Set(rows.map(({ cluster }) => cluster)).size;
  const share = { correct, count: rows.length, accuracy: correct / rows.length };
  if (clusters === rows.length)
    return { ...share, interval: wilsonInterval(correct, rows.length), method: 'wilson' };
  if (correct === 0 || correct === rows.length)
    return {
      ...share,
      interval: wilsonInterval(correct === 0 ? 0 : clusters, clusters),
      method: 'wilson of clusters',
    };
  return {
    ...share,
    interval: clusterBootstrap(rows.map((row) => ({ cluster: row.cluster, value: row.correct ? 1 : 0 }))),
    method: 'cluster bootstrap',
  };
}

/** All verdicts of one strategy, in the order of the items. */
export function scoreStrategy(
  strategy: string,
  items: readonly ItemRow[],
  predictions: ReadonlyMap<string, PredictionRow>,
  rules: ScoringRules,
  grounds: boolean,
): { rows: ScoredRow[]; expected: number } {
  let expected = 0;
  const rows = items.flatMap((item) =>
    Object.entries(item.predictions).flatMap(([name, key]) => {
      if (name.slice(0, name.lastIndexOf('#')) !== strategy) return [];
      expected++;
      const row = predictions.get(key);
      // The stored row may have been made for a question with the same content in another place.
      return row === undefined || rules.judged?.get(key) === null
        ? []
        : [scoreRow(item, { ...row, strategy }, rules, grounds)];
    }),
  );
  return { rows, expected };
}

/** The numbers of one strategy. `null` when no question applies to it. */
export function summarise(
  strategy: string,
  items: readonly ItemRow[],
  predictions: ReadonlyMap<string, PredictionRow>,
  rules: ScoringRules,
  { grounds = false, repeats = 1 }: { grounds?: boolean; repeats?: number } = {},
): { summary: StrategySummary; rows: ScoredRow[] } | null {
  const { rows, expected } = scoreStrategy(strategy, items, predictions, rules, grounds);
  if (expected === 0) return null;
  const missing = expected - rows.length;
  const correct = rows.filter((row) => row.correct).length;
  const complete = missing === 0;
  const depth = Math.max(0, ...rows.map(({ category }) => category.length));
  const byCategory = complete
    ? Array.from({ length: depth }, (_, level) =>
        [
          ...Map.groupBy(
            rows.filter(({ category }) => category.length > level),
            ({ category }) => category.slice(0, level + 1).join('/'),
          ),
        ]
          .sort(([a], [b]) => (a < b ? -1 : 1))
          .map(([category, members]) => ({ category, ...shareOf(members) })),
      ).flat()
    : [];
  const finest = byCategory.filter(({ category }) => category.split('/').length === depth);
  const dynamics = rows.flatMap((row) => (row.dynamics === null ? [] : [row.dynamics]));
  const choices = rows.filter((row) => /^[A-Z]$/.test(row.reference));
  // Orders of one question's options: the same question about the same image with the same options.
  const orders = new Map(
    items.map(({ id, cluster, options }) => [
      id,
      options.length === 0 ? id : JSON.stringify([cluster, options.toSorted()]),
    ]),
  );
  const consistency = permutationConsistency(
    repeats > 1 || grounds
      ? []
      : rows.map(({ item, correct }) => ({ cluster: orders.get(item) ?? item, correct })),
  );
  const notes: Record<string, number> = {};
  for (const { key } of rows)
    for (const [name, value] of Object.entries(predictions.get(key)?.notes ?? {}))
      notes[name] = (notes[name] ?? 0) + value;
  return {
    rows,
    summary: {
      strategy,
      count: expected,
      missing,
      overall: complete ? shareOf(rows) : null,
      bounds: [correct / expected, (correct + missing) / expected],
      byCategory,
      categoryMean:
        finest.length === 0 ? null : finest.reduce((sum, { accuracy }) => sum + accuracy, 0) / finest.length,
      unread: grounds ? 0 : rows.filter(({ answer }) => answer === null).length,
      stops: countBy(rows.map(({ stop }) => stop)),
      dynamics: dynamics.length === 0 ? null : meanDynamics(dynamics),
      cost: totalCost(rows.map(({ cost }) => cost)),
      notes,
      positionBias:
        grounds || choices.length === 0
          ? null
          : positionBias(choices.map(({ answer, reference }) => ({ answer, reference }))),
      permutations: consistency.groups === 0 ? null : consistency,
      repeats: repeats > 1 && complete ? repeatNumbers(rows, repeats) : null,
    },
  };
}

function repeatNumbers(rows: readonly ScoredRow[], n: number): StrategySummary['repeats'] {
  const questions = [...Map.groupBy(rows, ({ item }) => item).values()];
  const mean = (value: (answers: ScoredRow[]) => number) =>
    questions.reduce((sum, answers) => sum + value(answers), 0) / questions.length;
  const ks = [1, 2, 4, 8, 16, 32, 64].filter((k) => k < n);
  return {
    n,
    pass: Object.fromEntries(
      [...ks, n].map((k) => [
        k,
        mean((answers) => passAtK(n, answers.filter((row) => row.correct).length, k)),
      ]),
    ),
    maj: mean((answers) => majAtK(answers)),
  };
}

/** Sums of the ledger's columns. */
export function totalCost(costs: readonly Cost[]): Cost {
  const total = noCost();
  for (const cost of costs)
    for (const name of Object.keys(total) as (keyof Cost)[]) total[name] += cost[name];
  return total;
}

function countBy(values: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const value of values) counts[value] = (counts[value] ?? 0) + 1;
  return counts;
}
