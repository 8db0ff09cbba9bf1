import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Figure, plotlyOf, roundTicks, svgOf } from './figure.ts';
import { fittedLine } from './runs.ts';

const figure: Figure = {
  title: 'A <b>title</b> & "more"',
  x: 'step',
  y: 'share',
  percent: true,
  series: [
    {
      name: '<script>',
      x: [0, 1, 2],
      y: [0.5, null, 1],
      low: [0.4, 0, 0.9],
      high: [0.6, 0, 1],
      mode: 'lines+markers',
    },
    { name: 'fit', x: [0, 2], y: [0.5, 1], mode: 'lines', dash: true },
  ],
  bands: [{ from: 0.5, to: 1.5, text: 'perceiver 1', colour: '#0072b2' }],
};

test('the SVG shows every defined point, every line and the bands, and no markup of its texts', () => {
  const svg = svgOf(figure);
  expect(svg.match(/<circle/g)).toHaveLength(2);
  expect(svg.match(/<polyline/g)).toHaveLength(2);
  expect(svg).toContain('perceiver 1');
  expect(svg).toContain('&lt;script&gt;');
  expect(svg).not.toMatch(/<script|<b>|NaN|Infinity/);
});

test('both forms hold the same numbers', () => {
  const { data } = plotlyOf(figure) as {
    data: { x: number[]; y: number[]; error_y?: { array: number[] } }[];
  };
  expect(data.map(({ x }) => x)).toEqual(figure.series.map(({ x }) => x));
  expect(data.map(({ y }) => y)).toEqual(figure.series.map(({ y }) => y));
  expect(data[0]?.error_y?.array[0]).toBeCloseTo(0.1, 12);
});

test('ticks are round, inside, ascending and few', () => {
  fc.assert(
    fc.property(
      fc.double({ min: -1e4, max: 1e4, noNaN: true }),
      fc.double({ min: 1e-3, max: 1e4, noNaN: true }),
      (low, span) => {
        const ticks = roundTicks(low, low + span, 6);
        expect(ticks.length).toBeGreaterThan(0);
        expect(ticks.length).toBeLessThanOrEqual(8);
        for (const tick of ticks) {
          expect(tick).toBeGreaterThanOrEqual(low - span * 1e-6);
          expect(tick).toBeLessThanOrEqual(low + span * (1 + 1e-6));
        }
      },
    ),
  );
});

test('a fitted line goes through points on a line, and needs two places', () => {
  const points = [0, 1, 2].map((x) => ({ x, y: 3 + 2 * x }));
  expect(fittedLine(points).slope).toBeCloseTo(2, 12);
  expect(fittedLine(points).intercept).toBeCloseTo(3, 12);
  expect(fittedLine([...points, { x: 1, y: 8 }]).slope).toBeCloseTo(2, 12);
  expect(() => fittedLine([{ x: 1, y: 1 }])).toThrow(RangeError);
});
