/** When a claim of the paper counts as seen: every check is a sum of figures of one study, with an interval, against a bound. */
import type { Strategy } from '../study.ts';

/** What is averaged over the held-out questions; `seconds` is the time the model spent on a question. */
export type Metric = 'accuracy' | 'hit_rate' | 'iou' | 'box_count' | 'box_size' | 'seconds';

/** One figure: a metric of a checkpoint (`base`, `iteration-1-perceiver`, …) of a case (`''` where the study has none) under a strategy. */
export type Figure = { case: string; checkpoint: string; strategy: Strategy; metric: Metric };

/** A weighted sum of figures, computed question by question. */
export type Contrast = { weight: number; figure: Figure }[];

/** Where the contrast should lie: beyond a bound, or no farther from 0 than `within`. */
export type Expected = { above: number } | { below: number } | { within: number };

/** One sentence of a claim that figures can decide. */
export type Check = { says: string; contrast: Contrast; expected: Expected };

/** A contrast as it came out, with its 95 % interval. */
export type Estimate = { value: number; interval: [number, number] };

/**
 * `holds`: the whole interval lies where it should. `does not hold`: the estimate itself does not. `undecided`: the estimate does, but the
 * interval reaches beyond the bound. `not run`: a figure is missing.
 */
export type Verdict = 'holds' | 'does not hold' | 'undecided' | 'not run';

/** Decides one check. */
export function verdictOf(estimate: Estimate | null, expected: Expected): Verdict {
  if (estimate === null) return 'not run';
  const lies = (value: number) =>
    'above' in expected
      ? value > expected.above
      : 'below' in expected
        ? value < expected.below
        : Math.abs(value) <= expected.within;
  if (!lies(estimate.value)) return 'does not hold';
  return estimate.interval.every(lies) ? 'holds' : 'undecided';
}

/** A claim holds when all its checks do, and does not when one does not; one that was not run in full is not decided. */
export function overall(verdicts: readonly Verdict[]): Verdict {
  if (verdicts.every((verdict) => verdict === 'not run')) return 'not run';
  if (verdicts.includes('does not hold')) return 'does not hold';
  return verdicts.every((verdict) => verdict === 'holds') ? 'holds' : 'undecided';
}

/** One question under one figure: its id, the scene it is about, and the metric's value where it is defined. */
export type Observation = { question: string; cluster: string; value: number | null };

/**
 * A contrast question by question: those that every figure has a value for. Where a figure was measured under several seeds (`figures`
 * gives a list each), a question's value is its mean over them. Null when a figure is missing or no question is common to all.
 */
export function contrastRows(
  contrast: Contrast,
  observations: (figure: Figure) => Observation[][],
): { cluster: string; value: number }[] | null {
  const sums = new Map<string, { cluster: string; value: number; terms: number }>();
  for (const { weight, figure } of contrast) {
    const seeds = observations(figure);
    if (seeds.length === 0) return null;
    for (const [question, { cluster, value }] of meansByQuestion(seeds)) {
      const sum = sums.get(question) ?? { cluster, value: 0, terms: 0 };
      sums.set(question, { cluster, value: sum.value + weight * value, terms: sum.terms + 1 });
    }
  }
  const rows = [...sums.values()].filter(({ terms }) => terms === contrast.length);
  return rows.length === 0 ? null : rows.map(({ cluster, value }) => ({ cluster, value }));
}

function meansByQuestion(seeds: Observation[][]): Map<string, { cluster: string; value: number }> {
  const values = Map.groupBy(
    seeds.flat().filter((row) => row.value !== null),
    ({ question }) => question,
  );
  return new Map(
    [...values].map(([question, rows]) => [
      question,
      {
        cluster: rows[0]?.cluster ?? question,
        value: rows.reduce((sum, { value }) => sum + (value ?? 0), 0) / rows.length,
      },
    ]),
  );
}
