import { expect, test } from 'vitest';
import { wilsonInterval } from './intervals.ts';

test('known values of the Wilson interval', () => {
  const [low, high] = wilsonInterval(8, 10);
  expect(low).toBeCloseTo(0.4902, 4);
  expect(high).toBeCloseTo(0.9433, 4);
  expect(wilsonInterval(0, 10)[0]).toBeCloseTo(0, 12);
  expect(wilsonInterval(10, 10)[1]).toBeCloseTo(1, 12);
  expect(() => wilsonInterval(0, 0)).toThrow(RangeError);
});
