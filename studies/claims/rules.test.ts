import fc from 'fast-check';
import { expect, test } from 'vitest';
import { contrastRows, type Figure, overall, verdictOf } from './rules.ts';

const estimate = (value: number, low: number, high: number) => ({
  value,
  interval: [low, high] as [number, number],
});

test('a check holds with its whole interval, fails by its estimate, and is undecided between', () => {
  expect(verdictOf(estimate(0.1, 0.02, 0.2), { above: 0 })).toBe('holds');
  expect(verdictOf(estimate(0.1, -0.02, 0.2), { above: 0 })).toBe('undecided');
  expect(verdictOf(estimate(-0.1, -0.3, 0.1), { above: 0 })).toBe('does not hold');
  expect(verdictOf(estimate(0, 0, 0), { above: 0 })).toBe('does not hold');
  expect(verdictOf(estimate(0.1, 0.07, 0.2), { above: 0.06 })).toBe('holds');
  expect(verdictOf(estimate(0.1, 0.05, 0.2), { above: 0.06 })).toBe('undecided');
  expect(verdictOf(estimate(-0.1, -0.2, -0.01), { below: 0 })).toBe('holds');
  expect(verdictOf(estimate(0.01, -0.2, 0.2), { below: 0 })).toBe('does not hold');
  expect(verdictOf(estimate(0.01, -0.04, 0.05), { within: 0.05 })).toBe('holds');
  expect(verdictOf(estimate(0.01, -0.06, 0.04), { within: 0.05 })).toBe('undecided');
  expect(verdictOf(estimate(-0.06, -0.1, 0), { within: 0.05 })).toBe('does not hold');
  expect(verdictOf(null, { above: 0 })).toBe('not run');
});

test('no interval turns a claim around: what holds above does not hold below', () => {
  const bound = fc.double({ min: -1, max: 1, noNaN: true });
  fc.assert(
    fc.property(bound, bound, bound, (a, b, c) => {
      const [low, value, high] = [a, b, c].sort((x, y) => x - y) as [number, number, number];
      const found = estimate(value, low, high);
      const verdicts = [verdictOf(found, { above: 0 }), verdictOf(found, { below: 0 })];
      expect(verdicts).toContain('does not hold');
      if (low > 0) expect(verdicts[0]).toBe('holds');
    }),
  );
});

test('a claim is as good as its worst check', () => {
  expect(overall(['holds', 'holds'])).toBe('holds');
  expect(overall(['holds', 'undecided'])).toBe('undecided');
  expect(overall(['holds', 'not run'])).toBe('undecided');
  expect(overall(['does not hold', 'not run', 'holds'])).toBe('does not hold');
  expect(overall(['not run', 'not run'])).toBe('not run');
});

const at = (checkpoint: string): Figure => ({ case: '', checkpoint, strategy: 'p2r', metric: 'iou' });
const row = (question: string, value: number | null) => ({
  question,
  cluster: `scene-${question[0]}`,
  value,
});

test('a contrast pairs questions, takes means over seeds, and leaves out what is not defined everywhere', () => {
  const stored: Record<string, ReturnType<typeof row>[][]> = {
    base: [[row('a1', 0.2), row('a2', 0.4), row('b1', 0.5), row('b2', 1)]],
    trained: [
      [row('a1', 0.6), row('a2', 0.4), row('b1', null), row('b2', null)],
      [row('a1', 0.8), row('a2', 0.6), row('b1', 1), row('b2', null)],
    ],
  };
  const contrast = [
    { weight: 1, figure: at('trained') },
    { weight: -1, figure: at('base') },
  ];
  const rows = contrastRows(contrast, ({ checkpoint }) => stored[checkpoint] ?? []);
  expect(rows?.map(({ cluster }) => cluster)).toEqual(['scene-a', 'scene-a', 'scene-b']);
  [0.5, 0.1, 0.5].forEach((value, index) => {
    expect(rows?.[index]?.value).toBeCloseTo(value, 12);
  });
  expect(
    contrastRows(
      [...contrast, { weight: 1, figure: at('elsewhere') }],
      ({ checkpoint }) => stored[checkpoint] ?? [],
    ),
  ).toBeNull();
});
