import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type AxisWeights, axisWeights, type Kernel, resizeArea, resizeCubic } from './resampling.ts';

/** Repeatable noise. */
const noise = (width: number, height: number) =>
  Uint8Array.from({ length: width * height * 3 }, (_, i) => (Math.imul(i + 1, 2654435761) >>> 24) & 255);

/** One row of samples resized, the plain way. */
function resampleRow(row: Float64Array, { first, taps, weights }: AxisWeights): Float64Array {
  return Float64Array.from(first, (start, i) => {
    let sum = 0;
    for (let k = 0; k < taps; k++) sum += (weights[i * taps + k] ?? 0) * (row[start + k] ?? 0);
    return sum;
  });
}

describe('axisWeights', () => {
  it('area: 3 to 2 takes 1 and a half samples each', () => {
    const { first, taps, weights } = axisWeights(3, 2, 'area');
    const row = (i: number) => Array.from(weights.subarray(i * taps, (i + 1) * taps));
    expect([...first]).toEqual([0, 0]);
    expect(row(0)).toEqual([2 / 3, 1 / 3, 0].map((w) => expect.closeTo(w, 12)));
    expect(row(1)).toEqual([0, 1 / 3, 2 / 3].map((w) => expect.closeTo(w, 12)));
  });

  it('cubic at half a sample: -1/16, 9/16, 9/16, -1/16', () => {
    const { first, taps, weights } = axisWeights(100, 200, 'cubic');
    // Output 100 lies at 50.25 - 0.5 = 49.75: t = 0.75 between samples 49 and 50; by hand with a = -0.5.
    const row = Array.from(weights.subarray(100 * taps, 101 * taps));
    const [a, b, c, d] = [-0.0234375, 0.2265625, 0.8671875, -0.0703125];
    const from = 48 - (first[100] ?? 0);
    expect(row.slice(from, from + 4)).toEqual([a, b, c, d].map((w) => expect.closeTo(w, 12)));
  });

  it('gives weights that sum to 1 and stay inside', () => {
    const size = fc.integer({ min: 1, max: 300 });
    fc.assert(
      fc.property(
        size,
        size,
        fc.constantFrom<Kernel>('area', 'area-linear', 'cubic', 'cubic-sharp'),
        (input, output, kernel) => {
          fc.pre(kernel !== 'area' || output <= input);
          const { first, taps, weights } = axisWeights(input, output, kernel);
          for (let i = 0; i < output; i++) {
            expect((first[i] ?? -1) >= 0 && (first[i] ?? 0) + taps <= input).toBe(true);
            const sum = weights.subarray(i * taps, (i + 1) * taps).reduce((a, b) => a + b, 0);
            expect(sum).toBeCloseTo(1, 9);
          }
        },
      ),
    );
  });
});

describe('resizeCubic', () => {
  it('is the separable filter, rounded after each axis', () => {
    const side = fc.integer({ min: 1, max: 40 });
    const target = fc.constantFrom(8, 16, 32, 64);
    fc.assert(
      fc.property(side, side, target, target, (width, height, targetWidth, targetHeight) => {
        const [imageWidth, left, top] = [width + 5, 3, 2];
        const pixels = noise(imageWidth, height + 4);
        const result = new Uint8Array(targetWidth * targetHeight * 3);
        const region = { left, top, width, height };
        resizeCubic(pixels, imageWidth, region, { width: targetWidth, height: targetHeight }, result);

        const byte = (value: number) => Math.min(255, Math.max(0, Math.round(value)));
        const across = axisWeights(width, targetWidth, 'cubic');
        const down = axisWeights(height, targetHeight, 'cubic');
        for (let channel = 0; channel < 3; channel++) {
          const rows = Array.from({ length: height }, (_, y) =>
            resampleRow(
              Float64Array.from(
                { length: width },
                (_, x) => pixels[((top + y) * imageWidth + left + x) * 3 + channel] ?? 0,
              ),
              across,
            ).map(byte),
          );
          for (let x = 0; x < targetWidth; x++) {
            const column = resampleRow(
              Float64Array.from({ length: height }, (_, y) => rows[y]?.[x] ?? 0),
              down,
            );
            for (let y = 0; y < targetHeight; y++) {
              const got = result[(y * targetWidth + x) * 3 + channel] ?? -9;
              // Weights of 14 bits may turn the rounding of either axis.
              expect(Math.abs(got - byte(column[y] ?? 0))).toBeLessThanOrEqual(2);
            }
          }
        }
      }),
      { numRuns: 60 },
    );
  });

  it('keeps a plain colour, and an image that keeps its size', () => {
    const plain = new Uint8Array(21 * 17 * 3).fill(201);
    const result = new Uint8Array(32 * 32 * 3);
    resizeCubic(plain, 21, { left: 0, top: 0, width: 21, height: 17 }, { width: 32, height: 32 }, result);
    expect(new Set(result)).toEqual(new Set([201]));
    const pixels = noise(32, 32);
    resizeCubic(pixels, 32, { left: 0, top: 0, width: 32, height: 32 }, { width: 32, height: 32 }, result);
    expect(result).toEqual(pixels);
  });
});

describe('resizeArea', () => {
  it('averages', () => {
    const pixels = Uint8Array.from([0, 10, 20, 100, 30, 40, 200, 50, 60, 100, 70, 80]);
    const half = resizeArea(pixels, 2, { left: 0, top: 0, width: 2, height: 2 }, { width: 1, height: 1 });
    expect([...half]).toEqual([100, 40, 50]);
  });

  it('gives what cv2.resize(pixels, (4, 4), interpolation=cv2.INTER_AREA) gives where one axis grows', () => {
    const result = resizeArea(
      noise(5, 3),
      5,
      { left: 0, top: 0, width: 5, height: 3 },
      { width: 4, height: 4 },
    );
    const opencv = [
      [150, 53, 211, 105, 110, 166, 61, 219, 121, 16, 174, 76],
      [196, 99, 120, 152, 88, 212, 107, 94, 167, 62, 186, 122],
      [157, 145, 81, 147, 100, 173, 153, 55, 179, 108, 147, 168],
      [33, 191, 93, 91, 146, 48, 199, 101, 157, 154, 56, 215],
    ].flat();
    expect(Math.max(...opencv.map((value, i) => Math.abs(value - (result[i] ?? -1))))).toBeLessThanOrEqual(1);
  });
});
