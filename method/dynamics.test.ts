import { describe, expect, it } from 'vitest';
import { boxDynamics, dynamicsByCategory, meanDynamics } from './dynamics.ts';
import { IMAGE_RULES } from './image-rules.ts';

const IMAGE = { width: 1000, height: 1000 };
const box = (x1: number, y1: number, x2: number, y2: number) => ({ x1, y1, x2, y2, label: '' });
/** No margin, so that what is cropped is what is predicted. */
const BARE = { ...IMAGE_RULES.paper, cropPadding: { fraction: 0, maxPixels: 600 } };

describe('boxDynamics, by hand', () => {
  // Two objects; the first prediction has its centre (150, 150) in the first, the second prediction hits nothing.
  const truth = [box(100, 100, 200, 200), box(600, 600, 700, 700)];
  const predicted = [box(100, 100, 200, 150), box(0, 800, 100, 900), box(110, 110, 190, 190)];

  it('hit rate, IoU, precision', () => {
    const dynamics = boxDynamics(predicted, truth, IMAGE, BARE);
    expect(dynamics.hit_rate).toBe(1 / 2);
    // Best IoU: 80 x 80 / 100 x 100 for the first object, nothing for the second.
    expect(dynamics.iou).toBeCloseTo(0.64 / 2, 12);
    expect(dynamics.precision).toBe(2 / 3);
  });

  it('count and size', () => {
    const dynamics = boxDynamics(predicted, truth, IMAGE, BARE);
    expect(dynamics.box_count).toBe(3);
    expect(dynamics.box_size).toBeCloseTo((Math.sqrt(5000) + 100 + 80) / 3, 12);
    expect(dynamics.box_size_relative).toBeCloseTo((Math.sqrt(5000) + 100 + 80) / 3 / 1000, 12);
  });

  it('coverage counts each pixel once', () => {
    // 100 x 50, plus 80 x 40 below it.
    expect(boxDynamics(predicted, truth, IMAGE, BARE).coverage).toBeCloseTo((5000 + 3200) / 10_000 / 2, 12);
  });

  it('coverage includes the margin and only the boxes that are cropped', () => {
    const truthAtTheEdge = [box(200, 100, 250, 200)];
    // 10 % of 1000 pixels around x 100..200 reaches 300.
    expect(boxDynamics([box(100, 100, 200, 200)], truthAtTheEdge, IMAGE).coverage).toBe(1);
    const far = box(900, 900, 950, 950);
    expect(boxDynamics([far, far, far, box(200, 100, 250, 200)], truthAtTheEdge, IMAGE).coverage).toBe(0);
  });

  it('zoom: a crop of 100 pixels shown at 128, of an image of 1000 shown at 320', () => {
    const rules = {
      ...IMAGE_RULES.tiny,
      cropPadding: { fraction: 0, maxPixels: null },
      minPixels: 128 * 128,
    };
    expect(boxDynamics([box(0, 0, 100, 100)], [], IMAGE, rules).zoom_factor).toBeCloseTo(1.28 / 0.32, 12);
  });

  it('is null where undefined', () => {
    expect(boxDynamics([], truth, IMAGE)).toEqual({
      hit_rate: 0,
      iou: 0,
      precision: null,
      box_count: 0,
      box_size: null,
      box_size_relative: null,
      coverage: 0,
      zoom_factor: null,
    });
    expect(boxDynamics(predicted, [], IMAGE)).toMatchObject({
      hit_rate: null,
      iou: null,
      precision: null,
      coverage: null,
    });
  });
});

describe('means', () => {
  const a = boxDynamics([box(0, 0, 100, 100)], [box(0, 0, 100, 100)], IMAGE);
  const b = boxDynamics([], [box(0, 0, 100, 100)], IMAGE);

  it('are over the samples where the quantity is defined', () => {
    expect(meanDynamics([a, b])).toMatchObject({
      hit_rate: 0.5,
      iou: 0.5,
      precision: 1,
      box_count: 0.5,
      box_size: 100,
      samples: 2,
    });
    expect(meanDynamics([])).toMatchObject({ hit_rate: null, box_count: null, samples: 0 });
  });

  it('by category', () => {
    const groups = dynamicsByCategory([
      { category: 'x', dynamics: a },
      { category: 'y', dynamics: b },
    ]);
    expect(groups.get('x')?.hit_rate).toBe(1);
    expect(groups.get('y')?.hit_rate).toBe(0);
  });
});
