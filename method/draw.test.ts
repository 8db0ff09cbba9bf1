import { describe, expect, it } from 'vitest';
import { drawBoxes } from './draw.ts';
import { IMAGE_RULES, type ImageRules, linePixels } from './image-rules.ts';
import { axisWeights } from './resampling.ts';

const box = (x1: number, y1: number, x2: number, y2: number) => ({ x1, y1, x2, y2, label: '' });
const ORIGINAL = { width: 1280, height: 960 };
const SIZE = { width: 416, height: 320 };

/** Resizes a one-channel image given as a function, by the same filter, the plain way. */
function resized(
  value: (x: number, y: number) => number,
  kernel: 'cubic' | 'area',
): (x: number, y: number) => number {
  const across = axisWeights(ORIGINAL.width, SIZE.width, kernel);
  const down = axisWeights(ORIGINAL.height, SIZE.height, kernel);
  return (x, y) => {
    let sum = 0;
    for (let j = 0; j < down.taps; j++) {
      for (let i = 0; i < across.taps; i++) {
        const weight = (down.weights[y * down.taps + j] ?? 0) * (across.weights[x * across.taps + i] ?? 0);
        if (weight !== 0) sum += weight * value((across.first[x] ?? 0) + i, (down.first[y] ?? 0) + j);
      }
    }
    return sum;
  };
}

describe.each(['cubic', 'area'] as const)('drawing on the resized image, %s', (kernel) => {
  const rules: ImageRules = { ...IMAGE_RULES.paper, resampling: kernel };

  it('is resizing the drawn original', () => {
    const ground = 90;
    const pixels = new Uint8Array(SIZE.width * SIZE.height * 3).fill(ground);
    drawBoxes(pixels, SIZE, [box(200.7, 150.2, 700.4, 420.9)], ORIGINAL, rules);

    // What Pillow's rectangle draws: columns 200 to 700, rows 150 to 420, both ends included, `line` pixels inwards.
    const line = linePixels(ORIGINAL, rules);
    expect(line).toBe(3);
    const drawn = (x: number, y: number) => {
      const outer = x >= 200 && x <= 700 && y >= 150 && y <= 420;
      const inner = x >= 200 + line && x <= 700 - line && y >= 150 + line && y <= 420 - line;
      return outer && !inner ? 255 : ground;
    };
    const red = resized(drawn, kernel);
    const spots = [
      [64, 49],
      [65, 50],
      [66, 51],
      [65, 90],
      [66, 91],
      [67, 91],
      [68, 91],
      [140, 49],
      [141, 50],
      [141, 51],
      [226, 139],
      [227, 140],
      [228, 141],
      [228, 100],
      [150, 90],
      [300, 200],
    ] as const;
    for (const [x, y] of spots) {
      const wanted = Math.min(255, Math.max(0, red(x, y)));
      expect(
        Math.abs((pixels[(y * SIZE.width + x) * 3] ?? 0) - wanted),
        `red at ${x}, ${y}`,
      ).toBeLessThanOrEqual(1);
    }
  });

  it('takes boxes of any size and place', () => {
    const pixels = new Uint8Array(SIZE.width * SIZE.height * 3).fill(90);
    const boxes = [
      box(0, 0, 1280, 960),
      box(0, 0, 1, 1),
      box(1279.5, 959.5, 1280, 960),
      box(10, 10, 12, 900),
      box(-50, -50, 2000, 20),
    ];
    drawBoxes(pixels, SIZE, boxes, ORIGINAL, rules);
    expect([...pixels.subarray((160 * SIZE.width + 200) * 3, (160 * SIZE.width + 200) * 3 + 3)]).toEqual([
      90, 90, 90,
    ]);
    // The first box's right line: its last column lies beyond the image, two are left.
    expect(pixels[(160 * SIZE.width + SIZE.width - 1) * 3]).toBeGreaterThan(180);
  });
});

it('colours go round', () => {
  const rules = IMAGE_RULES.tiny;
  const size = { width: 960, height: 960 };
  const pixels = new Uint8Array(960 * 960 * 3);
  drawBoxes(
    pixels,
    size,
    Array.from({ length: 5 }, (_, i) => box(100 * i + 20.5, 100.5, 100 * i + 80.5, 200.5)),
    size,
    rules,
  );
  const left = (i: number) => [
    ...pixels.subarray((150 * 960 + 100 * i + 20) * 3, (150 * 960 + 100 * i + 20) * 3 + 3),
  ];
  expect([left(0), left(3), left(4)]).toEqual([
    [255, 0, 0],
    [255, 255, 0],
    [255, 0, 0],
  ]);
});
