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
