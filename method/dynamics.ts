import { type Box, boxArea, boxIou, centreInside, type Size } from './boxes.ts';
import { IMAGE_RULES, type ImageRules, planCrops, wholeSize } from './image-rules.ts';

/**
 * What the Perceiver's boxes of one sample are like. `null` where a quantity is not defined, for example every one that needs ground
 * truth when there is none. Formulas and units: docs/metrics.md.
 */
export type BoxDynamics = {
  /** Share of the ground-truth boxes that hold the centre of a predicted box, 0..1. */
  hit_rate: number | null;
  /** Mean over ground-truth boxes of the best IoU with a predicted box, 0..1. */
  iou: number | null;
  /** Share of the predicted boxes whose centre lies in a ground-truth box, 0..1. */
  precision: number | null;
  /** Number of predicted boxes. */
  box_count: number | null;
  /** Mean of the square root of the predicted boxes' areas, in pixels of the original. */
  box_size: number | null;
  /** `box_size` as a share of the square root of the image's area, 0..1. */
  box_size_relative: number | null;
  /** Mean over ground-truth boxes of the share of their area that the crops show, 0..1. */
  coverage: number | null;
  /** Mean over crops of how many times larger (linear) the crop shows its content than the whole image does. */
  zoom_factor: number | null;
};

/** The dynamics' names. */
export const DYNAMICS = [
  'hit_rate',
  'iou',
  'precision',
  'box_count',
  'box_size',
  'box_size_relative',
  'coverage',
  'zoom_factor',
] as const satisfies readonly (keyof BoxDynamics)[];

/**
 * The dynamics of one sample.
 * @param predicted all boxes the Perceiver wrote
 * @param truth ground-truth boxes; empty when the sample has none
 * @param rules what is cropped and how far it is enlarged (`coverage`, `zoom_factor`)
 * @see paper, section 4.4 and figure 6 (Hit Rate, IoU), appendix E.1 and figure 10 (count and size); the others are the project's own
 */
export function boxDynamics(
  predicted: readonly Box[],
  truth: readonly Box[],
  image: Size,
  rules: ImageRules = IMAGE_RULES.paper,
): BoxDynamics {
  const size = meanOf(predicted.map((box) => Math.sqrt(boxArea(box))));
  const plans = planCrops(predicted, image, rules).map(({ plan }) => plan);
  const shown = plans.map(({ left, top, width, height }) => ({
    x1: left,
    y1: top,
    x2: left + width,
    y2: top + height,
    label: '',
  }));
  const whole = wholeSize(image, rules);
  const wholeScale = Math.sqrt((whole.width * whole.height) / (image.width * image.height));
  const cropScales = plans.map(({ width, height, target }) =>
    Math.sqrt((target.width * target.height) / (width * height)),
  );
  return {
    hit_rate: meanOf(truth.map((box) => (predicted.some((guess) => centreInside(guess, box)) ? 1 : 0))),
    iou: meanOf(truth.map((box) => predicted.reduce((best, guess) => Math.max(best, boxIou(guess, box)), 0))),
    precision:
      truth.length === 0
        ? null
        : meanOf(predicted.map((guess) => (truth.some((box) => centreInside(guess, box)) ? 1 : 0))),
    box_count: predicted.length,
    box_size: size,
    box_size_relative: size === null ? null : size / Math.sqrt(image.width * image.height),
    coverage: meanOf(truth.map((box) => coveredShare(box, shown))),
    zoom_factor: meanOf(cropScales.map((scale) => scale / wholeScale)),
  };
}

/**
 * Means over samples, each quantity over those where it is defined; `null` where it is defined in none.
 * `samples` counts all samples. The mean is over samples, not over boxes.
 */
export function meanDynamics(list: readonly BoxDynamics[]): BoxDynamics & { samples: number } {
  const mean = (name: keyof BoxDynamics) =>
    meanOf(list.flatMap((item) => (item[name] === null ? [] : [item[name]])));
  return {
    hit_rate: mean('hit_rate'),
    iou: mean('iou'),
    precision: mean('precision'),
    box_count: mean('box_count'),
    box_size: mean('box_size'),
    box_size_relative: mean('box_size_relative'),
    coverage: mean('coverage'),
    zoom_factor: mean('zoom_factor'),
    samples: list.length,
  };
}

/** Means for each category, in the order the categories first occur. */
export function dynamicsByCategory(
  list: readonly { category: string; dynamics: BoxDynamics }[],
): Map<string, BoxDynamics & { samples: number }> {
  const groups = Map.groupBy(list, ({ category }) => category);
  return new Map(
    Array.from(groups, ([category, items]) => [
      category,
      meanDynamics(items.map(({ dynamics }) => dynamics)),
    ]),
  );
}

/** Share of a box's area that lies inside at least one of the others. */
function coveredShare(box: Box, others: readonly Box[]): number {
  const parts = others
    .map((other) => ({
      x1: Math.max(box.x1, other.x1),
      y1: Math.max(box.y1, other.y1),
      x2: Math.min(box.x2, other.x2),
      y2: Math.min(box.y2, other.y2),
    }))
    .filter((part) => part.x1 < part.x2 && part.y1 < part.y2);
  const columns = [...new Set(parts.flatMap(({ x1, x2 }) => [x1, x2]))].sort((a, b) => a - b);
  let area = 0;
  for (const [index, x2] of columns.entries()) {
    const x1 = columns[index - 1];
    if (x1 === undefined) continue;
    const spans = parts.filter((part) => part.x1 <= x1 && part.x2 >= x2).sort((a, b) => a.y1 - b.y1);
    let [height, reached] = [0, Number.NEGATIVE_INFINITY];
    for (const { y1, y2 } of spans) {
      height += Math.max(0, y2 - Math.max(y1, reached));
      reached = Math.max(reached, y2);
    }
    area += height * (x2 - x1);
  }
  const whole = boxArea(box);
  return whole === 0 ? 0 : area / whole;
}

function meanOf(values: readonly number[]): number | null {
  return values.length === 0 ? null : values.reduce((sum, value) => sum + value, 0) / values.length;
}
