import { expect, test } from 'vitest';
import { chiSquareTail, permutationConsistency, positionBias, shuffleOptions } from './letters.ts';

test('chi-square tails from a printed table', () => {
  expect(chiSquareTail(3.841, 1)).toBeCloseTo(0.05, 3);
  expect(chiSquareTail(5.991, 2)).toBeCloseTo(0.05, 3);
  expect(chiSquareTail(7.815, 3)).toBeCloseTo(0.05, 3);
  expect(chiSquareTail(9.488, 4)).toBeCloseTo(0.05, 3);
  expect(chiSquareTail(16.266, 3)).toBeCloseTo(0.001, 4);
  expect(chiSquareTail(0, 3)).toBe(1);
});

test('a model that always says A is found out; one that follows the key is not', () => {
  const references = ['A', 'B', 'C', 'D'].flatMap((letter) => Array.from({ length: 10 }, () => letter));
  const always = positionBias(references.map((reference) => ({ answer: 'A', reference })));
  // (40 - 10)^2 / 10 + 3 * 10^2 / 10
  expect(always.chiSquare).toBeCloseTo(120, 9);
  expect(always.p).toBeLessThan(1e-20);
  const right = positionBias(references.map((reference) => ({ answer: reference, reference })));
  expect(right.p).toBe(1);
});

test('permutations: all right, and verdicts that change with the order', () => {
  const rows = [
    ...[true, true, true, true].map((correct) => ({ cluster: 'a', correct })),
    ...[true, false, true, true].map((correct) => ({ cluster: 'b', correct })),
    { cluster: 'single', correct: true },
  ];
  expect(permutationConsistency(rows)).toEqual({ groups: 2, allRight: 0.5, flips: 0.5 });
});

test('shuffled options keep the right one and repeat with their seed', () => {
  const options = ['red', 'green', 'blue', 'black'];
  for (let seed = 0; seed < 50; seed++) {
    const shuffled = shuffleOptions(options, 'B', seed);
    expect([...shuffled.options].sort()).toEqual([...options].sort());
    expect(shuffled.options[shuffled.answer.charCodeAt(0) - 65]).toBe('green');
    expect(shuffleOptions(options, 'B', seed)).toEqual(shuffled);
  }
});
