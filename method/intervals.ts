/** Confidence intervals of rates. */

/**
 * Wilson score interval of a binomial rate: (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n).
 * `z` = 1.96 gives 95 %. Both ends lie in [0, 1]. Throws a RangeError when `count` is not positive.
 */
export function wilsonInterval(correct: number, count: number, z = 1.959964): [number, number] {
  if (!(count > 0)) throw new RangeError(`An interval needs at least one observation, got ${count}.`);
  const p = correct / count;
  const z2 = z * z;
  const centre = p + z2 / (2 * count);
  const half = z * Math.sqrt((p * (1 - p)) / count + z2 / (4 * count * count));
  const scale = 1 + z2 / count;
  return [Math.max(0, (centre - half) / scale), Math.min(1, (centre + half) / scale)];
}

/** Two ways of answering the same samples. */
export type PairedCounts = { bothRight: number; onlyA: number; onlyB: number; bothWrong: number };

/** Accuracy of b minus that of a, with an interval, and whether chance explains it. */
export type PairedDifference = { difference: number; interval: [number, number]; pValue: number };

/**
 * Paired difference of two accuracies. The interval is Agresti and Min's (2005): Wald's after half a sample is added to each of the four
 * cells, clipped to [-1, 1]. `pValue` is McNemar's exact two-sided test on the samples that only one of the two answered right; it is 1
 * when there is none. `z` = 1.96 gives 95 %. Throws a RangeError when there is no sample.
 */
export function pairedDifference(counts: PairedCounts, z = 1.959964): PairedDifference {
  const { bothRight, onlyA, onlyB, bothWrong } = counts;
  const count = bothRight + onlyA + onlyB + bothWrong;
  if (!(count > 0)) throw new RangeError(`A difference needs at least one sample, got ${count}.`);
  const n = count + 2;
  const [a, b] = [onlyA + 0.5, onlyB + 0.5];
  const centre = (b - a) / n;
  const half = (z * Math.sqrt(a + b - (b - a) ** 2 / n)) / n;
  return {
    difference: (onlyB - onlyA) / count,
    interval: [Math.max(-1, centre - half), Math.min(1, centre + half)],
    pValue: exactMcNemar(onlyA, onlyB),
  };
}

/** Twice the chance of a split at least as uneven as this one among `onlyA + onlyB` fair coins, at most 1. */
function exactMcNemar(onlyA: number, onlyB: number): number {
  const discordant = onlyA + onlyB;
  const fewer = Math.min(onlyA, onlyB);
  // In logarithms: 2^-n is below the smallest number from n = 1075 on.
  let logTerm = -discordant * Math.LN2;
  let sum = Math.exp(logTerm);
  for (let k = 1; k <= fewer; k++) {
    logTerm += Math.log((discordant - k + 1) / k);
    sum += Math.exp(logTerm);
  }
  return Math.min(1, 2 * sum);
}
