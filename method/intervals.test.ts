import { expect, test } from 'vitest';
import { pairedDifference, wilsonInterval } from './intervals.ts';

test('known values of the Wilson interval', () => {
  const [low, high] = wilsonInterval(8, 10);
  expect(low).toBeCloseTo(0.4902, 4);
  expect(high).toBeCloseTo(0.9433, 4);
  expect(wilsonInterval(0, 10)[0]).toBeCloseTo(0, 12);
  expect(wilsonInterval(10, 10)[1]).toBeCloseTo(1, 12);
  expect(() => wilsonInterval(0, 0)).toThrow(RangeError);
});

test("the exact test's p-value is a sum of binomial terms", () => {
  const p = (onlyA: number, onlyB: number) =>
    pairedDifference({ bothRight: 10, onlyA, onlyB, bothWrong: 10 }).pValue;
  expect(p(0, 0)).toBe(1);
  expect(p(3, 3)).toBe(1);
  expect(p(0, 5)).toBeCloseTo(2 / 32, 12);
  expect(p(1, 5)).toBeCloseTo((2 * (1 + 6)) / 64, 12);
  expect(p(5, 1)).toBeCloseTo(p(1, 5), 12);
  expect(p(900, 1100)).toBeGreaterThan(0);
  expect(p(900, 1100)).toBeLessThan(1e-4);
});

test('the interval holds the difference, mirrors with its sides and shrinks with the count', () => {
  const few = pairedDifference({ bothRight: 20, onlyA: 4, onlyB: 10, bothWrong: 14 });
  const many = pairedDifference({ bothRight: 200, onlyA: 40, onlyB: 100, bothWrong: 140 });
  const mirrored = pairedDifference({ bothRight: 20, onlyA: 10, onlyB: 4, bothWrong: 14 });
  expect(few.difference).toBe(0.125);
  expect(few.interval[0]).toBeLessThan(few.difference);
  expect(few.interval[1]).toBeGreaterThan(few.difference);
  expect(mirrored.interval[0]).toBeCloseTo(-few.interval[1], 12);
  expect(mirrored.interval[1]).toBeCloseTo(-few.interval[0], 12);
  expect(many.interval[1] - many.interval[0]).toBeLessThan(few.interval[1] - few.interval[0]);
  expect(() => pairedDifference({ bothRight: 0, onlyA: 0, onlyB: 0, bothWrong: 0 })).toThrow(RangeError);
});
