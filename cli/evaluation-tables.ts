/** Tables that `p2r eval` prints. */
import Table from 'cli-table3';
import { clusterPermutation, holm, mcnemarExact } from '../benchmarks/statistics/paired.ts';
import type { EvaluationResults } from '../evaluation/results.ts';

const percent = (value: number | null | undefined) =>
  value === null || value === undefined ? '-' : `${(value * 100).toFixed(1)} %`;
const fixed = (value: number | null | undefined, digits: number) =>
  value === null || value === undefined ? '-' : value.toFixed(digits);
const plain = { style: { head: [], border: [] } };

/** One row a strategy: accuracy with its interval, boxes, and what an answer cost. */
export function summaryTable(results: EvaluationResults): string {
  const table = new Table({
    head: [
      'strategy',
      'accuracy',
      '95 % interval',
      'n',
      'missing',
      'unread',
      'hit rate',
      'IoU',
      'boxes',
      'calls',
      'tokens',
      'Mpx',
      'cut off',
    ],
    ...plain,
  });
  for (const summary of results.summaries) {
    const { overall, bounds, dynamics, cost } = summary;
    const answered = Math.max(1, summary.count - summary.missing);
    table.push([
      summary.strategy,
      overall === null ? 'incomplete' : percent(overall.accuracy),
      (overall?.interval ?? bounds).map(percent).join(' to ') + (overall === null ? ' possible' : ''),
      summary.count,
      summary.missing,
      summary.unread,
      fixed(dynamics?.hit_rate, 3),
      fixed(dynamics?.iou, 3),
      fixed(dynamics?.box_count, 2),
      fixed(cost.calls / answered, 2),
      fixed((cost.prompt_tokens + cost.completion_tokens) / answered, 0),
      fixed(cost.pixels / answered / 1e6, 2),
      cost.truncated,
    ]);
  }
  return table.toString();
}

/** Every strategy against the first on the same questions; p adjusted by Holm over the rows. `null` with fewer than two complete ones. */
export function comparisonTable(results: EvaluationResults): string | null {
  const complete = results.summaries.filter(({ overall }) => overall !== null);
  const [first, ...others] = complete;
  if (first === undefined || others.length === 0) return null;
  const verdicts = (strategy: string) =>
    new Map(
      results.rows
        .filter((row) => row.strategy === strategy)
        .map((row) => [`${row.item}#${row.repeat}`, row]),
    );
  const base = verdicts(first.strategy);
  const compared = others.map((other) => {
    const pairs = [...verdicts(other.strategy)].flatMap(([id, row]) => {
      const against = base.get(id);
      return against === undefined
        ? []
        : [{ cluster: row.cluster, a: row.correct ? 1 : 0, b: against.correct ? 1 : 0 }];
    });
    const independent = new Set(pairs.map(({ cluster }) => cluster)).size === pairs.length;
    const { difference, p } = clusterPermutation(pairs);
    const won = pairs.filter(({ a, b }) => a > b).length;
    const lost = pairs.filter(({ a, b }) => a < b).length;
    return {
      strategy: other.strategy,
      difference,
      won,
      lost,
      p: independent ? mcnemarExact(won, lost) : p,
      test: independent ? 'McNemar, exact' : 'permutation of clusters',
    };
  });
  const adjusted = holm(compared.map(({ p }) => p));
  const table = new Table({
    head: [
      `against ${first.strategy}`,
      'difference',
      'only this right',
      'only that right',
      'p',
      'p (Holm)',
      'test',
    ],
    ...plain,
  });
  for (const [index, row] of compared.entries())
    table.push([
      row.strategy,
      `${row.difference >= 0 ? '+' : ''}${(100 * row.difference).toFixed(1)} points`,
      row.won,
      row.lost,
      row.p.toPrecision(2),
      (adjusted[index] ?? 1).toPrecision(2),
      row.test,
    ]);
  return table.toString();
}
