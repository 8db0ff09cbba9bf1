import { expect, test } from 'vitest';
import { avgAtK, majAtK, passAtK } from './repeats.ts';

test('pass@k by hand', () => {
  expect(passAtK(5, 2, 1)).toBeCloseTo(0.4, 12);
  // 1 - C(3,2) / C(5,2) = 1 - 3/10
  expect(passAtK(5, 2, 2)).toBeCloseTo(0.7, 12);
  expect(passAtK(5, 2, 4)).toBe(1);
  expect(passAtK(5, 0, 3)).toBe(0);
  expect(() => passAtK(3, 1, 4)).toThrow(RangeError);
  expect(avgAtK(8, 2)).toBe(0.25);
});

test('the majority: ties are shared, unreadable answers do not vote', () => {
  const a = { answer: 'A', correct: true };
  const b = { answer: 'B', correct: false };
  const none = { answer: null, correct: false };
  expect(majAtK([a, a, b])).toBe(1);
  expect(majAtK([a, b, b, none, none, none])).toBe(0);
  expect(majAtK([a, b])).toBe(0.5);
  expect(majAtK([none])).toBe(0);
});
