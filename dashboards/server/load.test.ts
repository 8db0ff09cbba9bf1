import fc from 'fast-check';
import { expect, test } from 'vitest';
import { onSteps, summed } from './load.ts';

const floats = (...values: number[]) => Float64Array.from(values);

test('servers are summed moment by moment', () => {
  const { times, values } = summed([
    [
      { time: 10, value: 1 },
      { time: 15, value: 2 },
    ],
    [{ time: 12, value: 5 }],
  ]);
  expect([...times]).toEqual([12, 15]);
  expect([...values]).toEqual([6, 2]);
});

test('moments lie between the ends of the steps around them', () => {
  const steps = floats(1, 2, 4);
  const ends = floats(100, 110, 130);
  expect([...onSteps(floats(0, 95, 100, 105, 120, 130, 135, 500), steps, ends)]).toEqual([
    0, 0.5, 1, 1.5, 3, 4, 4.5, 5,
  ]);
  expect([...onSteps(floats(1, 2), floats(), floats())]).toEqual([0, 0]);
});

test('steps of ascending moments ascend, whatever a restart did to the times', () => {
  fc.assert(
    fc.property(
      fc.array(fc.double({ min: 0, max: 1e3, noNaN: true }), { maxLength: 40 }),
      fc.array(fc.double({ min: 0, max: 1e3, noNaN: true }), { maxLength: 40 }),
      (moments, ends) => {
        const times = Float64Array.from(moments).sort();
        const steps = Float64Array.from(ends, (_, index) => index + 1);
        const placed = onSteps(times, steps, Float64Array.from(ends));
        placed.forEach((step, index) => {
          expect(step).toBeGreaterThanOrEqual(placed[index - 1] ?? 0);
          expect(step).toBeLessThanOrEqual(ends.length + 1);
        });
      },
    ),
  );
});
