import { availableParallelism } from 'node:os';
import pLimit from 'p-limit';
import sharp, { type Sharp } from 'sharp';
import type { Box } from './boxes.ts';
import { drawBoxes } from './draw.ts';
import {
  type CropPlan,
  ImageError,
  type ImageRules,
  imageRulesKey,
  planCrop,
  planCrops,
  wholeSize,
} from './image-rules.ts';
import { resizeArea, resizeCubic } from './resampling.ts';
import { withScratch } from './scratch.ts';

export * from './image-rules.ts';

/** Formats read; everything else is refused by name. Vector formats and documents are left out on purpose. */
const READABLE = new Set(['jpeg', 'png', 'webp', 'tiff', 'gif', 'heif', 'avif', 'jp2', 'jxl']);

/** What the header says: the upright size, and whether pixels need more than decoding to become 8-bit sRGB. */
export type Header = {
  width: number;
  height: number;
  jpeg: boolean;
  upright: boolean;
  opaque: boolean;
  srgb: boolean;
};

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
  readonly header: Header;
};

/** Evidence for the Reasoner: the annotated whole image, the crops, and the boxes that were cropped, in the same order. */
export type Evidence = { annotated: Buffer; crops: Buffer[]; usedBoxes: Box[] };

/** Up to this many pixels (192 MB as RGB) an image is kept decoded. */
export const RESIDENT_PIXELS = 64_000_000;

/** Evidence sets in the making: one more than the cores, so that one is encoded while the next is drawn, and memory stays bounded. */
const atOnce = pLimit(availableParallelism() + 1);

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
  if (width * height > RESIDENT_PIXELS) return { width, height, pixels: null, bytes, header };
  const { data, info } = await reading(() =>
    opened(bytes, header, rules).raw({ depth: 'uchar' }).toBuffer({ resolveWithObject: true }),
  );
  if (info.channels !== 3 || info.width !== width || info.height !== height) {
    throw new ImageError(
      'unsupported',
      `The image decodes to ${info.width} x ${info.height} pixels of ${info.channels} channels, not to ${width} x ${height} of 3; convert it to RGB.`,
    );
  }
  return { width, height, pixels: data, bytes, header };
}

/** Header only: what it says, once format, sample type and pixel count are known to be acceptable. Throws as `decodeImage`. */
export async function readHeader(bytes: Buffer, rules: ImageRules): Promise<Header> {
  const metadata = await reading(() => sharp(bytes, { limitInputPixels: false }).metadata());
  const { format, depth, orientation, space, hasAlpha, hasProfile } = metadata;
  if (!READABLE.has(format)) {
    throw new ImageError(
      'unsupported',
      `Images of the format ${format} are not read; convert it to JPEG or PNG.`,
    );
  }
  const { width, height } = metadata.autoOrient;
  if (width * height > rules.inputPixelLimit) {
    throw new ImageError(
      'too_large',
      `The image has ${width} x ${height} pixels, more than the limit of ${rules.inputPixelLimit}; raise inputPixelLimit or shrink it.`,
    );
  }
  if (depth !== 'uchar' && depth !== 'ushort') {
    throw new ImageError(
      'unsupported',
      `The image holds ${depth} samples, whose white is not defined; convert it to 8 or 16 bits.`,
    );
  }
  return {
    width,
    height,
    jpeg: format === 'jpeg',
    upright: (orientation ?? 1) === 1,
    opaque: !hasAlpha,
    srgb: space === 'srgb' && depth === 'uchar' && !hasProfile,
  };
}

/** The source as upright opaque 8-bit sRGB, with no step that the header shows to be needless. */
function opened(bytes: Buffer, header: Header, rules: ImageRules): Sharp {
  let image = sharp(bytes, {
    sequentialRead: header.upright,
    failOn: 'truncated',
    limitInputPixels: rules.inputPixelLimit,
    autoOrient: !header.upright,
  });
  if (!header.opaque) image = image.flatten({ background: '#ffffff' });
  if (!header.srgb) image = image.toColourspace('srgb');
  return image;
}

/** Turns libvips' errors about the file into one typed error. */
async function reading<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const detail = error instanceof Error ? error.message.trim().split('\n')[0] : String(error);
    const unsupported = /unsupported image format|buffer is empty/i.test(detail ?? '');
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
  const [annotated, ...crops] = await atOnce(() =>
    Promise.all([annotate(decoded, boxes, rules), ...planned.map(({ plan }) => crop(decoded, plan, rules))]),
  );
  return { annotated, crops, usedBoxes: planned.map(({ box }) => box) };
}

/** The whole image without any box, resized to its budget: what the Perceiver and the direct baseline see. */
export async function prepareWhole(decoded: DecodedImage, rules: ImageRules): Promise<Buffer> {
  return encode(await wholePixels(decoded, rules), wholeSize(decoded, rules), rules);
}

/** One region, cut and resized as the rules say; `null` where the rules leave it out (see `planCrop`). */
export async function prepareCrop(
  decoded: DecodedImage,
  box: Box,
  rules: ImageRules,
): Promise<{ bytes: Buffer; plan: CropPlan } | null> {
  const plan = planCrop(box, decoded, rules);
  return plan === null ? null : { bytes: await atOnce(() => crop(decoded, plan, rules)), plan };
}

/** The whole image with the boxes drawn, without crops. */
export async function prepareAnnotated(
  decoded: DecodedImage,
  boxes: readonly Box[],
  rules: ImageRules,
): Promise<Buffer> {
  return atOnce(() => annotate(decoded, boxes, rules));
}

async function annotate(decoded: DecodedImage, boxes: readonly Box[], rules: ImageRules): Promise<Buffer> {
  const whole = await wholePixels(decoded, rules);
  const size = wholeSize(decoded, rules);
  return withScratch(whole.length, (pixels) => {
    whole.copy(pixels);
    drawBoxes(pixels, size, boxes, decoded, rules);
    return encode(pixels, size, rules);
  });
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
    const { width, height, pixels } = decoded;
    const target = wholeSize(decoded, rules);
    // Where nothing is resized, another copy of all pixels would only be more to collect.
    whole =
      pixels !== null && target.width === width && target.height === height
        ? Promise.resolve(pixels)
        : resize(decoded, { left: 0, top: 0, width, height }, target, rules);
    byRules.set(key, whole);
  }
  return whole;
}

async function crop(decoded: DecodedImage, plan: CropPlan, rules: ImageRules): Promise<Buffer> {
  const { target, ...region } = plan;
  if (rules.resampling === 'area') return encode(await resize(decoded, region, target, rules), target, rules);
  const grows = target.width > region.width || target.height > region.height;
  if (grows && target.width % 8 === 0) {
    const source = await pixelsOf(decoded, region, rules);
    return withScratch(target.width * target.height * 3, (enlarged) => {
      resizeCubic(source.pixels, source.width, source.region, target, enlarged);
      return encode(enlarged, target, rules);
    });
  }
  return reading(() => encoded(cubicResize(decoded, region, target, rules), rules).toBuffer());
}

type Region = { left: number; top: number; width: number; height: number };

/** Part of the image, resized, as RGB bytes. */
async function resize(
  decoded: DecodedImage,
  region: Region,
  target: { height: number; width: number },
  rules: ImageRules,
): Promise<Buffer> {
  if (rules.resampling === 'cubic') {
    return reading(() => cubicResize(decoded, region, target, rules).raw().toBuffer());
  }
  const source = await pixelsOf(decoded, region, rules);
  return Buffer.from(resizeArea(source.pixels, source.width, source.region, target).buffer);
}

/** Decoded pixels that hold a region: those of the whole image where they are kept, else of the region alone. */
async function pixelsOf(
  { width, pixels, bytes, header }: DecodedImage,
  region: Region,
  rules: ImageRules,
): Promise<{ pixels: Buffer; width: number; region: Region }> {
  if (pixels !== null) return { pixels, width, region };
  const part = await reading(() => opened(bytes, header, rules).extract(region).raw().toBuffer());
  return { pixels: part, width: region.width, region: { ...region, left: 0, top: 0 } };
}

/**
 * libvips' antialiased cubic resize. Where a JPEG is shrunk to a quarter or less, libjpeg halves it while decoding (shrink on load):
 * closer to the exact filter than a resize of all pixels, and faster although it decodes again.
 */
function cubicResize(
  decoded: DecodedImage,
  region: Region,
  target: { height: number; width: number },
  rules: ImageRules,
): Sharp {
  const { width, height, pixels, bytes, header } = decoded;
  const whole = region.width === width && region.height === height;
  const quarter = header.jpeg && width >= 4 * target.width && height >= 4 * target.height;
  const source =
    pixels === null || (whole && quarter)
      ? opened(bytes, header, rules)
      : sharp(pixels, { raw: { width, height, channels: 3 }, limitInputPixels: false });
  const part = whole ? source : source.extract(region);
  if (region.width === target.width && region.height === target.height) return part;
  return part.resize(target.width, target.height, { fit: 'fill', kernel: 'cubic' });
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
