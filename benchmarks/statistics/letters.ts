/** Whether a model prefers a letter: chi-square of the chosen letters, consistency over permutations, option shuffling. */
import { letterAt } from '../../method/answers.ts';
import { seededRandom } from './random.ts';

/** How often each letter was chosen, how often it should have been, and whether the two differ by more than chance. */
export type PositionBias = {
  chosen: Record<string, number>;
  expected: Record<string, number>;
  chiSquare: number;
  degrees: number;
  p: number;
};

/**
 * Pearson's chi-square of the letters chosen against the letters that are right, scaled to the answers that could be read. Letters that
 * are never right are left out: nothing can be expected of them.
 */
export function positionBias(answers: readonly { answer: string | null; reference: string }[]): PositionBias {
  const read = answers.filter(({ answer }) => answer !== null);
  const references = Map.groupBy(answers, ({ reference }) => reference);
  const letters = [...references.keys()].sort();
  const inRange = read.filter(({ answer }) => letters.includes(answer ?? ''));
  const chosen: Record<string, number> = {};
  const expected: Record<string, number> = {};
  let chiSquare = 0;
  for (const letter of letters) {
    const observed = inRange.filter(({ answer }) => answer === letter).length;
    const due = (inRange.length * (references.get(letter)?.length ?? 0)) / answers.length;
    chosen[letter] = observed;
    expected[letter] = due;
    if (due > 0) chiSquare += (observed - due) ** 2 / due;
  }
  const degrees = Math.max(0, letters.length - 1);
  return { chosen, expected, chiSquare, degrees, p: chiSquareTail(chiSquare, degrees) };
}

/** P(X >= x) of a chi-square distribution with whole degrees of freedom. */
export function chiSquareTail(x: number, degrees: number): number {
  if (degrees === 0 || x <= 0) return 1;
  // Q(a + 1, y) = Q(a, y) + y^a e^-y / Gamma(a + 1), from Q(1/2, y) = erfc(sqrt y) or Q(1, y) = e^-y.
  const y = x / 2;
  let a = degrees % 2 === 0 ? 1 : 0.5;
  let tail = degrees % 2 === 0 ? Math.exp(-y) : erfc(Math.sqrt(y));
  let term = (degrees % 2 === 0 ? y : 2 * Math.sqrt(y / Math.PI)) * Math.exp(-y);
  while (a < degrees / 2) {
    tail += term;
    a += 1;
    term *= y / a;
  }
  return Math.min(1, Math.max(0, tail));
}

/** Complementary error function by its continued fraction (x > 2) or series, to about 1e-14. */
function erfc(x: number): number {
  if (x < 2.5) {
    let [term, sum] = [x, x];
    for (let n = 1; n < 200 && Math.abs(term) > 1e-17; n++) {
      term *= (-x * x) / n;
      sum += term / (2 * n + 1);
    }
    return 1 - (2 / Math.sqrt(Math.PI)) * sum;
  }
  let fraction = 0;
  for (let n = 60; n >= 1; n--) fraction = n / 2 / (x + fraction);
  return Math.exp(-x * x) / Math.sqrt(Math.PI) / (x + fraction);
}

/** Of the questions asked in several option orders: share right in all, mean share right, and share whose verdict changes. */
export function permutationConsistency(rows: readonly { cluster: string; correct: boolean }[]): {
  groups: number;
  allRight: number;
  flips: number;
} {
  const groups = [...Map.groupBy(rows, ({ cluster }) => cluster).values()].filter(({ length }) => length > 1);
  if (groups.length === 0) return { groups: 0, allRight: 0, flips: 0 };
  const right = groups.map((group) => group.filter(({ correct }) => correct).length / group.length);
  return {
    groups: groups.length,
    allRight: right.filter((share) => share === 1).length / groups.length,
    flips: right.filter((share) => share > 0 && share < 1).length / groups.length,
  };
}

/** The options in another order, and the letter that the right one has then. Seeded: the same text always shuffles the same way. */
export function shuffleOptions(
  options: readonly string[],
  answer: string,
  seed: number,
): { options: string[]; answer: string; order: number[] } {
  const random = seededRandom(seed);
  const order = options.map((_, index) => index);
  for (let last = order.length - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1));
    const [a, b] = [order[last] ?? 0, order[other] ?? 0];
    order[last] = b;
    order[other] = a;
  }
  const right = answer.charCodeAt(0) - 65;
  return {
    options: order.map((index) => options[index] ?? ''),
    answer: letterAt(order.indexOf(right)),
    order,
  };
}
