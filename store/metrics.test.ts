import fc from 'fast-check';
import { expect, test } from 'vitest';
import { mergeAttempts } from './metrics.ts';

const row = (step: number, reward_mean: number) => ({ step, time: 0, reward_mean });

test('a later attempt replaces the steps that were lost, and only those', () => {
  const merged = mergeAttempts([
    { attempt: 2, rows: [row(3, 0.33), row(4, 0.44)] },
    { attempt: 1, rows: [row(1, 0.1), row(2, 0.2), row(3, 0.3)] },
  ]);
  expect(merged.map(({ step, reward_mean, attempt }) => [step, reward_mean, attempt])).toEqual([
    [1, 0.1, 1],
    [2, 0.2, 1],
    [3, 0.33, 2],
    [4, 0.44, 2],
  ]);
});

test('every step is there once, ascending', () => {
  const attempts = fc.array(
    fc.record({
      attempt: fc.integer({ min: 1, max: 9 }),
      rows: fc.array(fc.integer({ min: 1, max: 30 }).map((step) => row(step, 0))),
    }),
  );
  fc.assert(
    fc.property(attempts, (all) => {
      const steps = mergeAttempts(all).map(({ step }) => step);
      expect(steps).toEqual(
        [...new Set(all.flatMap(({ rows }) => rows.map(({ step }) => step)))].sort((a, b) => a - b),
      );
    }),
  );
});
