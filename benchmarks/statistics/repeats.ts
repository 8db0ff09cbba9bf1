/** Several sampled answers to one question: pass@k, avg@k and maj@k. */

/** Unbiased estimate that at least one of k answers is right, from c right ones among n: 1 - C(n-c, k) / C(n, k). */
export function passAtK(n: number, c: number, k: number): number {
  if (!(k >= 1 && k <= n && c >= 0 && c <= n))
    throw new RangeError(`pass@k needs 1 <= k <= n and 0 <= c <= n, got n ${n}, c ${c}, k ${k}.`);
  if (n - c < k) return 1;
  let none = 1;
  for (let i = 0; i < k; i++) none *= (n - c - i) / (n - i);
  return 1 - none;
}

/** Mean accuracy of one answer: c / n. */
export function avgAtK(n: number, c: number): number {
  if (!(n >= 1 && c >= 0 && c <= n)) throw new RangeError(`avg@k needs 0 <= c <= n, got n ${n}, c ${c}.`);
  return c / n;
}

/**
 * Expected accuracy of the most frequent answer: 1 when it is right, and with ties the share of right ones among the most frequent.
 * Answers that could not be read do not vote; 0 when nobody votes.
 */
export function majAtK(answers: readonly { answer: string | null; correct: boolean }[]): number {
  const votes = Map.groupBy(
    answers.filter(({ answer }) => answer !== null),
    ({ answer }) => answer?.trim().toUpperCase(),
  );
  const most = Math.max(0, ...[...votes.values()].map(({ length }) => length));
  const winners = [...votes.values()].filter(({ length }) => length === most);
  if (most === 0) return 0;
  return winners.filter((rows) => rows.some(({ correct }) => correct)).length / winners.length;
}
