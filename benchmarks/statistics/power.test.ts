import { expect, test } from 'vitest';
import { leastSignificantSplit, minimumDetectableDifference } from './power.ts';

test('least significant splits of the exact test', () => {
  expect(leastSignificantSplit(20)).toMatchObject({ more: 15, fewer: 5 });
  expect(leastSignificantSplit(10)).toMatchObject({ more: 9, fewer: 1 });
  expect(leastSignificantSplit(6)).toMatchObject({ more: 6, fewer: 0 });
  expect(leastSignificantSplit(5)).toBeNull();
});

test('more questions show smaller differences; too few show none', () => {
  const small = minimumDetectableDifference({ questions: 191, discordant: 0.1 }) ?? 1;
  const large = minimumDetectableDifference({ questions: 1919, discordant: 0.1 }) ?? 1;
  expect(small).toBeGreaterThan(0.055);
  expect(small).toBeLessThan(0.08);
  expect(large).toBeLessThan(small / 2);
  expect(minimumDetectableDifference({ questions: 40, discordant: 0.1 })).toBeNull();
});
