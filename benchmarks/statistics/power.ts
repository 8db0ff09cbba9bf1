/** What a benchmark of a given size can show, before anything is run. */
import { binomialTail, mcnemarExact } from './paired.ts';

/** The least uneven split of `discordant` pairs that the exact test calls significant, or null when none is. */
export function leastSignificantSplit(
  discordant: number,
  alpha = 0.05,
): { more: number; fewer: number; p: number } | null {
  for (let more = Math.ceil(discordant / 2); more <= discordant; more++) {
    const p = mcnemarExact(more, discordant - more);
    if (p < alpha) return { more, fewer: discordant - more, p };
  }
  return null;
}

/**
 * Smallest true difference in accuracy (0 to 1) that McNemar's exact test finds with probability `power`, for `questions` independent
 * questions of which the share `discordant` is answered rightly by one run alone. `null` when even the largest is not found.
 */
export function minimumDetectableDifference({
  questions,
  discordant,
  alpha = 0.05,
  power = 0.8,
}: {
  questions: number;
  discordant: number;
  alpha?: number;
  power?: number;
}): number | null {
  const pairs = Math.round(questions * discordant);
  const split = leastSignificantSplit(pairs, alpha);
  if (split === null) return null;
  for (let step = 500; step <= 1000; step++) {
    const share = step / 1000;
    if (binomialTail(pairs, split.more, share) >= power) return (pairs / questions) * (2 * share - 1);
  }
  return null;
}
