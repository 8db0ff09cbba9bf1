/** Comparing two runs on the same questions. */
import { seededRandom } from './random.ts';

/** How two runs agree on the questions that both answered. `onlyA`: right in A and wrong in B. */
export type Agreement = { both: number; onlyA: number; onlyB: number; neither: number };

/** Counts the four cases. */
export function agreement(pairs: readonly { a: boolean; b: boolean }[]): Agreement {
  const counts: Agreement = { both: 0, onlyA: 0, onlyB: 0, neither: 0 };
  for (const { a, b } of pairs) counts[a ? (b ? 'both' : 'onlyA') : b ? 'onlyB' : 'neither']++;
  return counts;
}

/**
 * Two-sided p of McNemar's exact test: under the null each discordant pair falls to either side with probability 1/2.
 * 1 when there is no discordant pair. For independent questions only; see {@link clusterPermutation}.
 */
export function mcnemarExact(onlyA: number, onlyB: number): number {
  const n = onlyA + onlyB;
  return Math.min(1, 2 * binomialTail(n, Math.max(onlyA, onlyB), 0.5));
}

/** P(X >= k) of a binomial of n trials with success p. Summed in logarithms: exact to rounding for thousands of trials. */
export function binomialTail(n: number, k: number, p: number): number {
  if (k <= 0) return 1;
  if (k > n) return 0;
  if (p <= 0) return 0;
  if (p >= 1) return 1;
  let logTerm = n * Math.log1p(-p);
  const logOdds = Math.log(p) - Math.log1p(-p);
  let sum = 0;
  for (let i = 0; i <= n; i++) {
    if (i > 0) logTerm += Math.log((n - i + 1) / i) + logOdds;
    if (i >= k) sum += Math.exp(logTerm);
  }
  return Math.min(1, sum);
}

/**
 * Two-sided p of the difference of two means over clustered questions: the signs of whole clusters' differences are flipped at random
 * (all sign patterns when there are at most 2^16). `difference` is mean(a) - mean(b).
 */
export function clusterPermutation(
  pairs: readonly { cluster: string; a: number; b: number }[],
  { rounds = 20_000, seed = 1 }: { rounds?: number; seed?: number } = {},
): { difference: number; p: number } {
  const sums = [...Map.groupBy(pairs, ({ cluster }) => cluster).values()].map((rows) =>
    rows.reduce((sum, { a, b }) => sum + a - b, 0),
  );
  const total = sums.reduce((sum, value) => sum + value, 0);
  const difference = pairs.length === 0 ? 0 : total / pairs.length;
  const differing = sums.filter((value) => value !== 0);
  if (differing.length === 0) return { difference, p: 1 };
  // A flipped sum that equals the observed one up to rounding counts as at least as large.
  const reaches = (sum: number) => Math.abs(sum) >= Math.abs(total) - 1e-9;
  if (differing.length <= 16) {
    let hits = 0;
    for (let pattern = 0; pattern < 1 << differing.length; pattern++) {
      let sum = 0;
      for (const [bit, value] of differing.entries()) sum += pattern & (1 << bit) ? -value : value;
      if (reaches(sum)) hits++;
    }
    return { difference, p: hits / (1 << differing.length) };
  }
  const random = seededRandom(seed);
  let hits = 0;
  for (let round = 0; round < rounds; round++) {
    let sum = 0;
    for (const value of differing) sum += random() < 0.5 ? -value : value;
    if (reaches(sum)) hits++;
  }
  return { difference, p: (hits + 1) / (rounds + 1) };
}

/** Holm's step-down adjustment of several p values, in their order: at most alpha of any false finding over all of them. */
export function holm(values: readonly number[]): number[] {
  const order = values.map((value, index) => ({ value, index })).sort((x, y) => x.value - y.value);
  const adjusted = new Array<number>(values.length).fill(0);
  let least = 0;
  for (const [rank, { value, index }] of order.entries()) {
    least = Math.max(least, Math.min(1, (values.length - rank) * value));
    adjusted[index] = least;
  }
  return adjusted;
}
