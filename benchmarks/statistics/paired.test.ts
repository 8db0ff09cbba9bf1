import { expect, test } from 'vitest';
import { agreement, binomialTail, clusterPermutation, holm, mcnemarExact } from './paired.ts';

test("McNemar's exact test by hand: 2 (C(20,15) + ... + C(20,20)) / 2^20", () => {
  expect(mcnemarExact(15, 5)).toBeCloseTo((2 * (15504 + 4845 + 1140 + 190 + 20 + 1)) / 2 ** 20, 12);
  expect(mcnemarExact(5, 15)).toBe(mcnemarExact(15, 5));
  expect(mcnemarExact(6, 0)).toBeCloseTo(2 / 64, 12);
  expect(mcnemarExact(3, 3)).toBe(1);
  expect(mcnemarExact(0, 0)).toBe(1);
});

test('binomial tails by hand, and for sizes where powers underflow', () => {
  expect(binomialTail(4, 3, 0.5)).toBeCloseTo(5 / 16, 12);
  expect(binomialTail(3, 2, 0.2)).toBeCloseTo(3 * 0.04 * 0.8 + 0.008, 12);
  expect(binomialTail(5000, 2500, 0.5)).toBeCloseTo(0.5056, 3);
  expect(binomialTail(3, 4, 0.5)).toBe(0);
  expect(binomialTail(3, 0, 0.5)).toBe(1);
});

test('the four cases of two runs', () => {
  const pairs = [
    { a: true, b: true },
    { a: true, b: false },
    { a: true, b: false },
    { a: false, b: false },
  ];
  expect(agreement(pairs)).toEqual({ both: 1, onlyA: 2, onlyB: 0, neither: 1 });
});

test('flipping whole clusters: two clusters that agree give 2 of 4 sign patterns, however many rows they have', () => {
  const rows = ['x', 'y'].flatMap((cluster) => Array.from({ length: 4 }, () => ({ cluster, a: 1, b: 0 })));
  expect(clusterPermutation(rows)).toEqual({ difference: 1, p: 0.5 });
  // As eight independent questions the same data would look convincing.
  const apart = rows.map((row, index) => ({ ...row, cluster: String(index) }));
  expect(clusterPermutation(apart).p).toBeCloseTo(2 / 256, 12);
});

test('many clusters are sampled, with a p that is never 0 and does not change from run to run', () => {
  const rows = Array.from({ length: 40 }, (_, i) => ({ cluster: String(i), a: 1, b: i < 38 ? 0 : 1 }));
  const first = clusterPermutation(rows, { rounds: 2000 });
  expect(first.p).toBeCloseTo(1 / 2001, 12);
  expect(clusterPermutation(rows, { rounds: 2000 })).toEqual(first);
});

test("Holm's adjustment by hand keeps the order and never falls", () => {
  expect(holm([0.01, 0.04, 0.03])).toEqual([0.03, 0.06, 0.06]);
  expect(holm([0.5, 0.9])).toEqual([1, 1]);
  expect(holm([])).toEqual([]);
});
