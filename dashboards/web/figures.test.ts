import { expect, test } from 'vitest';
import type { EvaluationView } from '../server/api.ts';
import { comparedAccuracy, latestAccuracy } from './figures.ts';
import type { Palette } from './palette.ts';

function evaluation(pair: boolean, accuracies: Record<string, number>): EvaluationView {
  return {
    id: 'evaluation/base',
    checkpoint: 'base',
    at: 7,
    pair,
    strategies: Object.entries(accuracies).map(([strategy, accuracy]) => ({
      strategy,
      accuracy,
      interval: [accuracy - 0.1, accuracy + 0.2],
      count: 10,
      correct: accuracy * 10,
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

test('runs are compared by P2R accuracy with its interval, a text-only run by direct answers', () => {
  const [both, direct] = comparedAccuracy(
    [
      { experiment: 'a', evaluations: [evaluation(false, { direct: 0.5, p2r: 0.8 })] },
      { experiment: 'b', evaluations: [evaluation(false, { direct: 0.5 }), evaluation(true, { p2r: 0.9 })] },
    ],
    { runs: ['#111111', '#222222'] } as unknown as Palette,
  ) as { x: number[]; y: number[]; error_y: { array: number[]; arrayminus: number[] } }[];
  expect(both).toMatchObject({ x: [7], y: [0.8] });
  expect(both?.error_y.array[0]).toBeCloseTo(0.2);
  expect(both?.error_y.arrayminus[0]).toBeCloseTo(0.1);
  expect(direct).toMatchObject({ x: [7], y: [0.5] });
});
