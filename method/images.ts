import sharp, { type Sharp } from 'sharp';
import type { Box } from './boxes.ts';
import { drawBoxes } from './draw.ts';
import {
  type CropPlan,
  ImageError,
  type ImageRules,
  imageRulesKey,
  planCrops,
  wholeSize,
} from './image-rules.ts';
import { resizeArea } from './resampling.ts';

export * from './image-rules.ts';

/** Formats read; everything else is refused by name. Vector formats and documents are left out on purpose. */
const READABLE = new Set(['jpeg', 'png', 'webp', 'tiff', 'gif', 'heif', 'avif', 'jp2', 'jxl']);

/**
 * An image ready to be annotated and cropped by any number of rollouts: upright, 8-bit sRGB, opaque.
 * `pixels` holds `width * height * 3` bytes, or null for an image too large to keep (`RESIDENT_PIXELS`), whose parts are then decoded
 * from `bytes` as they are needed.
 */
export type DecodedImage = {
  readonly width: number;
  readonly height: number;
  readonly pixels: Buffer | null;
  readonly bytes: Buffer;
};

/** Evidence for the Reasoner: the annotated whole image, the crops, and the boxes that were cropped, in the same order. */
export type Evidence = { annotated: Buffer; crops: Buffer[]; usedBoxes: Box[] };

/** Up to this many pixels (192 MB as RGB) an image is kept decoded. */
export const RESIDENT_PIXELS = 64_000_000;

/** Whole images already resized, by image and rules: every rollout draws on its own copy. */
const wholes = new WeakMap<DecodedImage, Map<string, Promise<Buffer>>>();

/**
 * Decodes an image once for all rollouts: turned upright by its EXIF orientation, converted to 8-bit sRGB (CMYK, 16-bit, grey and
 * embedded profiles included), transparency laid on white. Of an animation, the first frame is taken.
 *
 * @throws ImageError `unreadable` for damaged or truncated files, `unsupported` for formats not read, `too_large` beyond
 *   `rules.inputPixelLimit` (checked from the header, before anything is decompressed)
 */
export async function decodeImage(bytes: Buffer, rules: ImageRules): Promise<DecodedImage> {
  const header = await readHeader(bytes, rules);
  const { width, height } = header;
  if (width * height > RESIDENT_PIXELS) return { width, height, pixels: null, bytes };
  const { data, info } = await reading(upright(bytes, rules).raw().toBuffer({ resolveWithObject: true }));
  return { width: info.width, height: info.height, pixels: data, bytes };
}

/** Header only: the upright size, once format and pixel count are known to be acceptable. */
async function readHeader(bytes: Buffer, rules: ImageRules): Promise<{ width: number; height: number }> {
  const metadata = await reading(sharp(bytes, { limitInputPixels: false }).metadata());
  const { format } = metadata;
  if (format === undefined || !READABLE.has(format)) {
    throw new ImageError(
      'unsupported',
      `Images of the format ${format ?? 'unknown'} are not read; convert it to JPEG or PNG.`,
    );
  }
  const { width, height } = metadata.autoOrient;
  if (width * height > rules.inputPixelLimit) {
    throw new ImageError(
      'too_large',
      `The image has ${width} x ${height} pixels, more than the limit of ${rules.inputPixelLimit}; raise inputPixelLimit or shrink it.`,
    );
  }
  if (metadata.depth === 'float' || metadata.depth === 'double' || metadata.depth === 'complex') {
    throw new ImageError(
      'unsupported',
      `The image holds ${metadata.depth} samples, whose white is not defined; convert it to 8 or 16 bits.`,
    );
  }
  return { width, height };
}

/** The source as upright opaque 8-bit sRGB. */
function upright(bytes: Buffer, rules: ImageRules) {
  return sharp(bytes, {
    sequentialRead: true,
    failOn: 'truncated',
    limitInputPixels: rules.inputPixelLimit,
    autoOrient: true,
  })
    .flatten({ background: '#ffffff' })
    .toColourspace('srgb');
}

/** Turns libvips' errors about the file into one typed error. */
async function reading<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    const detail = error instanceof Error ? error.message.trim().split('\n')[0] : String(error);
    const unsupported = /unsupported image format/i.test(detail ?? '');
    throw new ImageError(
      unsupported ? 'unsupported' : 'unreadable',
      unsupported
        ? 'The bytes are no image of a known format; check the file.'
        : `The image is damaged or cut short (${detail}); fetch it again or leave it out.`,
      { cause: error },
    );
  }
}

/**
 * Annotated whole image and crops for one set of boxes, encoded as the rules say.
 *
 * All boxes are drawn, on the image as resized: a line's pixels are what the same resize makes of a line drawn at full size. The first
 * `maxCrops` boxes are cropped from the unannotated image; those giving no usable region are left out, and `usedBoxes` names the rest.
 * With no box, `annotated` is the plain whole image and `crops` is empty.
 *
 * @see paper, section 3.2: I_a = annotate(I, B) and I_c = crop(I, B); appendix B.2
 */
export async function prepareEvidence(
  decoded: DecodedImage,
  boxes: readonly Box[],
  rules: ImageRules,
): Promise<Evidence> {
  const planned = planCrops(boxes, decoded, rules);
  const [annotated, ...crops] = await Promise.all([
    annotate(decoded, boxes, rules),
    ...planned.map(({ plan }) => crop(decoded, plan, rules)),
  ]);
  return { annotated, crops, usedBoxes: planned.map(({ box }) => box) };
}

/** The whole image without any box, resized to its budget: what the Perceiver and the direct baseline see. */
export async function prepareWhole(decoded: DecodedImage, rules: ImageRules): Promise<Buffer> {
  return encode(await wholePixels(decoded, rules), wholeSize(decoded, rules), rules);
}

async function annotate(decoded: DecodedImage, boxes: readonly Box[], rules: ImageRules): Promise<Buffer> {
  const pixels = Buffer.from(await wholePixels(decoded, rules));
  const size = wholeSize(decoded, rules);
  drawBoxes(pixels, size, boxes, decoded, rules);
  return encode(pixels, size, rules);
}

/** The whole image resized, without boxes: computed once per image and rules. Callers must not write into it. */
function wholePixels(decoded: DecodedImage, rules: ImageRules): Promise<Buffer> {
  const key = imageRulesKey(rules);
  let byRules = wholes.get(decoded);
  if (byRules === undefined) {
    byRules = new Map();
    wholes.set(decoded, byRules);
  }
  let whole = byRules.get(key);
  if (whole === undefined) {
    const region = { left: 0, top: 0, width: decoded.width, height: decoded.height };
    whole = resize(decoded, region, wholeSize(decoded, rules), rules);
    byRules.set(key, whole);
  }
  return whole;
}

async function crop(decoded: DecodedImage, plan: CropPlan, rules: ImageRules): Promise<Buffer> {
  const { target, ...region } = plan;
  if (rules.resampling === 'area' || decoded.pixels === null) {
    return encode(await resize(decoded, region, target, rules), target, rules);
  }
  return encoded(libvipsResize(decoded, region, target, rules), rules).toBuffer();
}

type Region = { left: number; top: number; width: number; height: number };

/** Part of the image, resized, as RGB bytes. */
async function resize(
  decoded: DecodedImage,
  region: Region,
  target: { height: number; width: number },
  rules: ImageRules,
): Promise<Buffer> {
  if (rules.resampling === 'cubic')
    return reading(libvipsResize(decoded, region, target, rules).raw().toBuffer());
  const { pixels } = decoded;
  if (pixels !== null) return Buffer.from(resizeArea(pixels, decoded.width, region, target).buffer);
  const part = await reading(upright(decoded.bytes, rules).extract(region).raw().toBuffer());
  const all = { left: 0, top: 0, width: region.width, height: region.height };
  return Buffer.from(resizeArea(part, region.width, all, target).buffer);
}

function libvipsResize(
  decoded: DecodedImage,
  region: Region,
  target: { height: number; width: number },
  rules: ImageRules,
) {
  const { width, height, pixels } = decoded;
  const source =
    pixels === null
      ? upright(decoded.bytes, rules)
      : sharp(pixels, { raw: { width, height, channels: 3 }, limitInputPixels: false });
  const whole = region.width === width && region.height === height;
  return (whole ? source : source.extract(region)).resize(target.width, target.height, {
    fit: 'fill',
    kernel: 'cubic',
  });
}

function encode(pixels: Buffer, size: { height: number; width: number }, rules: ImageRules): Promise<Buffer> {
  const raw = { width: size.width, height: size.height, channels: 3 as const };
  return encoded(sharp(pixels, { raw, limitInputPixels: false }), rules).toBuffer();
}

/** Optimised Huffman tables would halve the speed for a few per cent of size. */
function encoded(image: Sharp, rules: ImageRules): Sharp {
  if (rules.encoding === 'png') return image.png({ compressionLevel: 2 });
  return image.jpeg({
    quality: rules.jpegQuality,
    chromaSubsampling: rules.jpegQuality < 90 ? '4:2:0' : '4:4:4',
    optimiseCoding: false,
  });
}
