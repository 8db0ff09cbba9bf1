/** Intervals of a mean whose observations come in clusters: four permutations of one question, several questions about one image. */
import { seededRandom } from './random.ts';

/** One observation and the cluster it belongs to. */
export type Clustered = { cluster: string; value: number };

/**
 * Percentile interval of the mean over all observations, resampling whole clusters with replacement.
 * @param level 0.95 for a 95 % interval
 * @param rounds number of resamples; the same seed gives the same interval
 * @throws RangeError when there is no observation
 */
export function clusterBootstrap(
  observations: readonly Clustered[],
  { level = 0.95, rounds = 10_000, seed = 1 }: { level?: number; rounds?: number; seed?: number } = {},
): [number, number] {
  if (observations.length === 0) throw new RangeError('An interval needs at least one observation.');
  const clusters = [...Map.groupBy(observations, ({ cluster }) => cluster).values()];
  const sums = Float64Array.from(clusters, (rows) => rows.reduce((sum, { value }) => sum + value, 0));
  const sizes = Float64Array.from(clusters, (rows) => rows.length);
  const random = seededRandom(seed);
  const means = new Float64Array(rounds);
  for (let round = 0; round < rounds; round++) {
    let [sum, size] = [0, 0];
    for (let draw = 0; draw < clusters.length; draw++) {
      const index = Math.floor(random() * clusters.length);
      sum += sums[index] ?? 0;
      size += sizes[index] ?? 0;
    }
    means[round] = sum / size;
  }
  means.sort();
  const at = (share: number) =>
    means[Math.min(rounds - 1, Math.max(0, Math.round(share * (rounds - 1))))] ?? 0;
  const tail = (1 - level) / 2;
  return [at(tail), at(1 - tail)];
}
