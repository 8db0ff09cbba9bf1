import fc from 'fast-check';
import { expect, test } from 'vitest';
import { binWidth, downsample, FEWEST_POINTS, windowOf } from './downsample.ts';

const value = fc.double({ noNaN: true, min: -1e6, max: 1e6 });

/** Ascending steps with gaps, and values that are sometimes undefined. */
const curve = fc
  .array(fc.tuple(fc.integer({ min: 1, max: 5 }), fc.option(value, { freq: 8 })), {
    minLength: 1,
    maxLength: 600,
  })
  .map((points) => {
    let step = 0;
    return {
      x: Float64Array.from(points, ([gap]) => {
        step += gap;
        return step;
      }),
      y: Float64Array.from(points, ([, y]) => y ?? Number.NaN),
    };
  });
const limit = fc.integer({ min: FEWEST_POINTS, max: 700 });

test('a curve that fits is kept whole', () => {
  fc.assert(
    fc.property(curve, ({ x, y }) => {
      expect(downsample(x, y, Math.max(FEWEST_POINTS, x.length))).toEqual([...x.keys()]);
    }),
  );
});

test('never more points than asked for, ascending, each once, with the first and the last', () => {
  fc.assert(
    fc.property(curve, limit, fc.integer({ min: 0, max: 5000 }), ({ x, y }, points, span) => {
      const kept = downsample(x, y, points, span);
      expect(kept.length).toBeLessThanOrEqual(points);
      expect(kept).toEqual([...new Set(kept)].sort((a, b) => a - b));
      expect(kept[0]).toBe(0);
      expect(kept.at(-1)).toBe(x.length - 1);
    }),
  );
});

test("every bin's lowest and highest value, and a point of an undefined bin, are kept", () => {
  fc.assert(
    fc.property(curve, limit, ({ x, y }, points) => {
      const kept = new Set(downsample(x, y, points));
      const width = binWidth((x.at(-1) ?? 0) - (x[0] ?? 0), points);
      const bins = Map.groupBy(x.keys(), (index) => Math.floor((x[index] ?? 0) / width));
      for (const bin of bins.values()) {
        const defined = bin.map((index) => y[index] ?? Number.NaN).filter((value) => !Number.isNaN(value));
        const seen = bin.filter((index) => kept.has(index)).map((index) => y[index]);
        expect(seen.length).toBeGreaterThan(0);
        if (defined.length === 0) continue;
        expect(seen).toContain(Math.min(...defined));
        expect(seen).toContain(Math.max(...defined));
      }
    }),
  );
});

test('a one-step spike survives anywhere in 50,000 steps, in whole view and in every zoom that holds it', () => {
  const x = Float64Array.from({ length: 50_000 }, (_, index) => index + 1);
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 49_998 }), fc.integer({ min: 1, max: 15 }), (spike, halvings) => {
      const y = x.map((step) => Math.sin(step / 500));
      y[spike] = 100;
      const half = 50_000 / 2 ** halvings;
      const [begin, end] = windowOf(x, spike + 1 - half, spike + 1 + half);
      for (const [from, to] of [
        [0, x.length],
        [begin, end],
      ]) {
        const kept = downsample(x.slice(from, to), y.slice(from, to), 1000).map(
          (index) => index + (from ?? 0),
        );
        expect(kept).toContain(spike);
      }
    }),
    { numRuns: 10 },
  );
});

test('bins stay where they are while a curve grows inside a window of fixed width', () => {
  const x = Float64Array.from({ length: 2000 }, (_, index) => index + 1);
  const y = x.map((step) => (step * 7919) % 101);
  const width = binWidth(4000, 500);
  const settled = (length: number) =>
    downsample(x.slice(0, length), y.slice(0, length), 500, 4000).filter(
      (index) => (x[index] ?? 0) < 900 - (900 % width) - width,
    );
  expect(settled(2000)).toEqual(settled(1000));
});

test('a window holds its steps and one neighbour on each side', () => {
  expect(windowOf(Float64Array.of(1, 2, 3, 4, 5), 2.5, 3.5)).toEqual([1, 4]);
  expect(windowOf(Float64Array.of(1, 2, 3, 4, 5), 0, 9)).toEqual([0, 5]);
  expect(windowOf(Float64Array.of(1, 2, 3), 7, 9)).toEqual([0, 0]);
  expect(windowOf(Float64Array.of(1, 2, 3), -5, 0)).toEqual([0, 0]);
  expect(windowOf(Float64Array.of(1, 9), 4, 5)).toEqual([0, 2]);
  expect(windowOf(Float64Array.of(), 0, 1)).toEqual([0, 0]);
});
