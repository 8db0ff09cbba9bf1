import { expect, test } from 'vitest';
import { attributionCounts } from './attribution.ts';

test('every question falls into one of four, and harm needs a witness without boxes', () => {
  const q = (predicted: boolean, oracle: boolean, without: boolean | null) => ({
    predicted,
    oracle,
    without,
  });
  expect(
    attributionCounts([
      q(true, true, true),
      q(false, true, true),
      q(false, false, false),
      q(true, false, null),
    ]),
  ).toEqual({
    robust: 1,
    perception_limited: 1,
    reasoning_limited: 1,
    oracle_harmed: 1,
    hint_harmed: 1,
    questions: 4,
  });
  expect(attributionCounts([q(false, true, null)]).hint_harmed).toBeNull();
});
