import { describe, expect, it } from 'vitest';
import {
  IMAGE_RULES,
  ImageError,
  imageRulesKey,
  linePixels,
  planCrop,
  planCrops,
  smartResize,
  wholeSize,
} from './image-rules.ts';

const box = (x1: number, y1: number, x2: number, y2: number) => ({ x1, y1, x2, y2, label: '' });
const budget = { factor: 32, minPixels: 4096, maxPixels: 2048 * 32 * 32 };

describe('smartResize', () => {
  it.each([
    [1080, 1920, 1088, 1920], // 33.75 -> 34, inside the budget
    [720, 1280, 704, 1280], // 22.5 rounds to even
    [2160, 3840, 1056, 1920], // beyond: / 1.98875, floored
    [20, 20, 64, 64], // below the least: grown and rounded up
    [10, 100, 32, 224],
  ])('%i x %i becomes %i x %i', (height, width, h, w) => {
    expect(smartResize(height, width, budget)).toEqual({ height: h, width: w });
  });

  it('refuses what is too long and thin', () => {
    expect(() => smartResize(10, 2001, budget)).toThrow(ImageError);
    expect(() => smartResize(0, 10, budget)).toThrow(ImageError);
  });
});

describe('crops', () => {
  it("the paper's margin: a tenth of the side, at most 600 pixels", () => {
    const image = { width: 8000, height: 4000 };
    expect(planCrop(box(1000.6, 1000, 1100, 1100), image, IMAGE_RULES.paper)).toMatchObject({
      left: 400,
      top: 600,
      width: 1300,
      height: 900,
    });
  });

  it("the tiny model's: 2 % of the side, 19 of 960 pixels", () => {
    const image = { width: 960, height: 960 };
    expect(planCrop(box(96.5, 0, 182.4, 50), image, IMAGE_RULES.tiny)).toEqual({
      left: 77,
      top: 0,
      width: 124,
      height: 69,
      target: { width: 128, height: 64 },
    });
    expect(planCrop(box(0, 0, 959, 60), image, IMAGE_RULES.tiny)?.target).toEqual({ width: 128, height: 32 });
  });

  it('skips regions of no use, among the first three boxes only', () => {
    const image = { width: 100, height: 100 };
    const rules = { ...IMAGE_RULES.paper, cropPadding: { fraction: 0, maxPixels: 600 }, minCropSide: 8 };
    const boxes = [box(0, 0, 4, 50), box(10, 10, 50, 50), box(20, 20, 60, 60), box(0, 0, 90, 90)];
    expect(planCrops(boxes, image, rules).map((planned) => planned.box)).toEqual([boxes[1], boxes[2]]);
  });
});

it('line width: 3 pixels at least, 0.3 % of the width beyond 1000', () => {
  expect(linePixels({ width: 640, height: 1 }, IMAGE_RULES.paper)).toBe(3);
  expect(linePixels({ width: 7680, height: 1 }, IMAGE_RULES.paper)).toBe(23);
  expect(linePixels({ width: 960, height: 1 }, IMAGE_RULES.tiny)).toBe(3);
});

it('budgets: 2048 and 4096 tokens of 32 x 32 pixels, 100 for the tiny model', () => {
  const tokens = (rules: Parameters<typeof wholeSize>[1], width: number, height: number) => {
    const size = wholeSize({ width, height }, rules);
    return (size.width * size.height) / 1024;
  };
  expect(tokens(IMAGE_RULES.paper, 4096, 4096)).toBeLessThanOrEqual(2048);
  expect(tokens(IMAGE_RULES['paper-evaluation'], 4096, 4096)).toBe(4096);
  expect(tokens(IMAGE_RULES.tiny, 960, 960)).toBe(100);
});

it('a changed rule changes the key', () => {
  expect(imageRulesKey({ ...IMAGE_RULES.paper, maxCrops: 4 })).not.toBe(imageRulesKey(IMAGE_RULES.paper));
  expect(imageRulesKey(IMAGE_RULES.paper)).toMatch(/^paper:[0-9a-f]{16}$/);
});
