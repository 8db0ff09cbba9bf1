import type { Box, Size } from './boxes.ts';
import { fingerprint } from './content-key.ts';

/** Red, green, blue, each 0..255. */
export type Colour = readonly [number, number, number];

/** Everything that decides which pixels a role sees. Part of content keys: a changed rule is another experiment. */
export type ImageRules = {
  name: string;
  /** All boxes are drawn, the first `maxCrops` are cropped (paper, appendix B.2). */
  maxCrops: number;
  /** Margin around a crop, each side: `fraction` of the image's side, at most `maxPixels` (null: no such limit). */
  cropPadding: { fraction: number; maxPixels: number | null };
  /** Padded crops with a side below this many original pixels are skipped. */
  minCropSide: number;
  /** Longest side of a resized crop in pixels; null: only the pixel budget counts. */
  maxCropSide: number | null;
  /** Width of a drawn line: `fraction` of the image's width, whole pixels, at least `minPixels`. */
  lineWidth: { fraction: number; minPixels: number };
  /** Where the line lies: wholly inside the box, with the last row and column counted in (Pillow), or centred on the box's edge. */
  lineAlign: 'inside' | 'centred';
  /** Colours by box number, from the start again when they run out. */
  colours: readonly Colour[];
  /** Most pixels of the whole image, annotated or not, after resizing. */
  wholeImagePixels: number;
  /** Most pixels of one crop after resizing. */
  cropPixels: number;
  /** Fewest pixels of any image after resizing. */
  minPixels: number;
  /** Sides are multiples of this: vision patch times merge size. */
  factor: number;
  /** `cubic`: antialiased Catmull-Rom, as Pillow's BICUBIC. `area`: pixel-area averages down, cubic (a = -0.75) up, as OpenCV. */
  resampling: 'cubic' | 'area';
  encoding: 'jpeg' | 'png';
  /** JPEG quality 1..100; chroma is halved below 90 and whole from there on. */
  jpegQuality: number;
  /** Images with more pixels than this are refused before decoding. */
  inputPixelLimit: number;
};

const EIGHT_COLOURS: readonly Colour[] = [
  [255, 0, 0],
  [0, 128, 0],
  [0, 0, 255],
  [255, 255, 0],
  [255, 165, 0],
  [128, 0, 128],
  [0, 255, 255],
  [255, 0, 255],
];

const PAPER: ImageRules = {
  name: 'paper',
  maxCrops: 3,
  cropPadding: { fraction: 0.1, maxPixels: 600 },
  minCropSide: 1,
  maxCropSide: null,
  lineWidth: { fraction: 0.003, minPixels: 3 },
  lineAlign: 'inside',
  colours: EIGHT_COLOURS,
  wholeImagePixels: 2048 * 32 * 32,
  cropPixels: 2048 * 32 * 32,
  minPixels: 4096,
  factor: 32,
  resampling: 'cubic',
  encoding: 'jpeg',
  jpegQuality: 75,
  inputPixelLimit: 300_000_000,
};

/**
 * The named rules.
 * - `paper`: training (appendix B.2 and C.2; padding, colours, line width and JPEG quality from the authors' code).
 * - `paper-evaluation`: appendix D.2, twice the pixels, and nearly no coding loss (the authors' evaluation passes pixels on as they are).
 * - `tiny`: what the embedded tiny models were trained on, with fractions that are 19 and 3 pixels of 960.
 */
export const IMAGE_RULES = {
  paper: PAPER,
  'paper-evaluation': {
    ...PAPER,
    name: 'paper-evaluation',
    wholeImagePixels: 4096 * 32 * 32,
    cropPixels: 4096 * 32 * 32,
    minPixels: 16 * 32 * 32,
    jpegQuality: 95,
  },
  tiny: {
    ...PAPER,
    name: 'tiny',
    cropPadding: { fraction: 0.02, maxPixels: null },
    minCropSide: 8,
    maxCropSide: 128,
    lineWidth: { fraction: 3 / 960, minPixels: 1 },
    lineAlign: 'centred',
    colours: EIGHT_COLOURS.slice(0, 4),
    wholeImagePixels: 102_400,
    cropPixels: 16_384,
    resampling: 'area',
    encoding: 'png',
  },
} as const satisfies Record<string, ImageRules>;

/** Name of a rule set. */
export type ImageRulesName = keyof typeof IMAGE_RULES;

/** Name and fingerprint of the rules, for content keys. */
export function imageRulesKey(rules: ImageRules): string {
  return `${rules.name}:${fingerprint(rules)}`;
}

/** An image that no rule can make sense of, with what to do about it. */
export class ImageError extends Error {
  override readonly name = 'ImageError';
  /** What is wrong, for counting and for deciding whether a retry can help (it cannot). */
  readonly code: ImageErrorCode;

  constructor(code: ImageErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** `unreadable`: no image, cut short or damaged; `unsupported`: a format or pixel type outside the rules; `too_large`; `aspect`. */
export type ImageErrorCode = 'unreadable' | 'unsupported' | 'too_large' | 'aspect';

/** Pixel budget of a resize: sides are multiples of `factor`, the product lies between the two limits. */
export type Budget = { factor: number; minPixels: number; maxPixels: number };

const MAX_ASPECT = 200;

/**
 * The size an image is resized to before the model sees it: nearest multiples of `factor`, scaled into the pixel budget with the
 * aspect kept as well as whole multiples allow. Halves are rounded to even, as Python's `round` does.
 *
 * @returns height and width in pixels
 * @throws ImageError `aspect` when one side is more than 200 times the other
 * @see Qwen3-VL's `smart_resize`; the budgets are in the paper's appendices C.2 and D.2
 */
export function smartResize(
  height: number,
  width: number,
  { factor, minPixels, maxPixels }: Budget,
): { height: number; width: number } {
  if (!(height >= 1 && width >= 1) || Math.max(height, width) / Math.min(height, width) > MAX_ASPECT) {
    throw new ImageError(
      'aspect',
      `An image of ${width} x ${height} pixels is too long and thin for the model (1:${MAX_ASPECT} at most); leave it out.`,
    );
  }
  let h = Math.max(factor, roundHalfEven(height / factor) * factor);
  let w = Math.max(factor, roundHalfEven(width / factor) * factor);
  if (h * w > maxPixels) {
    const shrink = Math.sqrt((height * width) / maxPixels);
    h = Math.max(factor, Math.floor(height / shrink / factor) * factor);
    w = Math.max(factor, Math.floor(width / shrink / factor) * factor);
  } else if (h * w < minPixels) {
    const grow = Math.sqrt(minPixels / (height * width));
    h = Math.ceil((height * grow) / factor) * factor;
    w = Math.ceil((width * grow) / factor) * factor;
  }
  return { height: h, width: w };
}

function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest !== 0.5) return Math.round(value);
  return floor % 2 === 0 ? floor : floor + 1;
}

/** Size of the whole image, annotated or not, as the model sees it. */
export function wholeSize(image: Size, rules: ImageRules): { height: number; width: number } {
  const { factor, minPixels, wholeImagePixels } = rules;
  return smartResize(image.height, image.width, { factor, minPixels, maxPixels: wholeImagePixels });
}

/** A crop: the whole pixels cut from the original, and the size they are resized to. */
export type CropPlan = {
  left: number;
  top: number;
  width: number;
  height: number;
  target: { height: number; width: number };
};

/**
 * The region cut out for one box: the box with its margin, clipped to the image, and the size it is resized to.
 * `null` where the region is too small (`minCropSide`) or too long and thin to be of use.
 * @see paper, section 3.2 (crop(I, B)); margin from the authors' code
 */
export function planCrop(box: Box, image: Size, rules: ImageRules): CropPlan | null {
  const horizontal = span(box.x1, box.x2, image.width, rules);
  const vertical = span(box.y1, box.y2, image.height, rules);
  const width = horizontal.end - horizontal.start;
  const height = vertical.end - vertical.start;
  if (width < rules.minCropSide || height < rules.minCropSide) return null;
  if (Math.max(width, height) / Math.min(width, height) > MAX_ASPECT) return null;
  const { factor, minPixels, cropPixels, maxCropSide } = rules;
  let target = smartResize(height, width, { factor, minPixels, maxPixels: cropPixels });
  const longest = Math.max(target.height, target.width);
  if (maxCropSide !== null && longest > maxCropSide) {
    const shrunk = (side: number) =>
      Math.max(factor, Math.floor(Math.trunc((side * maxCropSide) / longest) / factor) * factor);
    target = { height: shrunk(target.height), width: shrunk(target.width) };
  }
  return { left: horizontal.start, top: vertical.start, width, height, target };
}

/** One axis of a crop: whole pixels from `start` up to but without `end`. */
function span(from: number, to: number, side: number, rules: ImageRules): { start: number; end: number } {
  const { fraction, maxPixels } = rules.cropPadding;
  if (maxPixels === null) {
    // Both the box and its margin are cut to whole pixels before they are added, as for the tiny model's training data.
    const pad = Math.trunc(fraction * side);
    return { start: Math.max(0, Math.trunc(from) - pad), end: Math.min(side, Math.trunc(to) + pad) };
  }
  const pad = Math.min(fraction * side, maxPixels);
  return { start: Math.trunc(Math.max(0, from - pad)), end: Math.trunc(Math.min(side, to + pad)) };
}

/** The plans of the boxes that are cropped: the first `maxCrops`, without those that give no usable region. */
export function planCrops(
  boxes: readonly Box[],
  image: Size,
  rules: ImageRules,
): { box: Box; plan: CropPlan }[] {
  const planned: { box: Box; plan: CropPlan }[] = [];
  for (const box of boxes.slice(0, rules.maxCrops)) {
    const plan = planCrop(box, image, rules);
    if (plan !== null) planned.push({ box, plan });
  }
  return planned;
}

/** Width of a drawn line in pixels of the original image. */
export function linePixels(image: Size, rules: ImageRules): number {
  return Math.max(rules.lineWidth.minPixels, Math.trunc(rules.lineWidth.fraction * image.width + 1e-9));
}
