import { expect, test } from 'vitest';
import type { EvaluationView } from '../server/api.ts';
import { latestAccuracy } from './figures.ts';

function evaluation(pair: boolean, accuracies: Record<string, number>): EvaluationView {
  return {
    id: 'evaluation/base',
    at: 0,
    pair,
    strategies: Object.entries(accuracies).map(([strategy, accuracy]) => ({
      strategy,
      accuracy,
      interval: [accuracy, accuracy],
    })),
  } as unknown as EvaluationView;
}

test('the newest accuracy is the last one, not the best: of P2R where it was asked, never of a pair', () => {
  const list = [
    evaluation(false, { direct: 0.5, p2r: 0.8 }),
    evaluation(false, { direct: 0.5, p2r: 0.9 }),
    evaluation(false, { direct: 0.6, p2r: 0.7 }),
    evaluation(true, { p2r: 0.1 }),
    evaluation(false, {}),
  ];
  expect(latestAccuracy(list)).toBe(0.7);
  expect(latestAccuracy([evaluation(false, { direct: 0.5 })])).toBe(0.5);
  expect(latestAccuracy([])).toBeNull();
});
