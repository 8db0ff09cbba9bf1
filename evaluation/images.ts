/** The images of the questions under way: read once, decoded once, passed through unchanged where no resize is due. */
import { createHash } from 'node:crypto';
import { availableParallelism } from 'node:os';
import pLimit from 'p-limit';
import sharp from 'sharp';
import type { ImageSource } from '../benchmarks/item.ts';
import type { Box, Size } from '../method/boxes.ts';
import {
  type DecodedImage,
  decodeImage,
  type Header,
  type ImageRules,
  planCrops,
  prepareAnnotated,
  prepareCrop,
  prepareEvidence,
  prepareWhole,
  readHeader,
  wholeSize,
} from '../method/images.ts';
import type { SentImage } from '../method/strategies/strategy.ts';

/** Encoded files kept for the questions that share them. */
const KEPT_FILE_BYTES = 48_000_000;
/** Bytes kept of images that several questions are about, as decoded. */
const KEPT_PIXEL_BYTES = 112_000_000;

/**
 * Larger images are never held decoded (one of 8K takes 100 MB), and are prepared one at a time: the whole is halved while it is
 * decoded, and a crop decodes the rows it needs.
 */
const LARGE_PIXELS = 16_000_000;
/** What is kept of a large image besides its file: about the pixels of its whole as resized. */
const LARGE_WHOLE_BYTES = 8_000_000;

// Images are prepared side by side, one thread each: the same work with less memory than several threads on one image.
sharp.concurrency(1);
sharp.cache(false);

/**
 * Whether a file may go to the model as it is: an upright, opaque 8-bit sRGB JPEG, PNG or WebP whose pixel count is within the budget.
 * The model's own processor then rounds the sides to whole patches, as it does for every image.
 */
export function passesThrough(header: Header, bytes: Buffer, rules: ImageRules): boolean {
  const pixels = header.width * header.height;
  const known =
    header.jpeg || bytes.readUInt32BE(0) === 0x89504e47 || bytes.toString('latin1', 8, 12) === 'WEBP';
  const plain = header.upright && header.opaque && header.srgb;
  return known && plain && pixels <= rules.wholeImagePixels && pixels >= rules.minPixels;
}

/**
 * Reads, decodes and prepares images, as many at once as there are cores. An image that several questions need (`need`, `done`) stays
 * decoded between them; any other is let go as soon as its pixels have been used.
 */
export class Images {
  readonly #files = new Map<string, Promise<Buffer>>();
  readonly #headers = new Map<string, Promise<Header>>();
  readonly #decoded = new Map<string, Promise<DecodedImage>>();
  readonly #needed = new Map<string, number>();
  readonly #atOnce = pLimit(availableParallelism());
  readonly #largeAtOnce = pLimit(1);
  #fileBytes = 0;

  /** One more question needs this image. */
  need({ key }: ImageSource): void {
    this.#needed.set(key, (this.#needed.get(key) ?? 0) + 1);
  }

  /** One question that needed this image has ended. */
  done({ key }: ImageSource): void {
    const left = (this.#needed.get(key) ?? 1) - 1;
    if (left > 0) {
      this.#needed.set(key, left);
      return;
    }
    this.#needed.delete(key);
    this.#decoded.delete(key);
    this.#headers.delete(key);
    void this.#drop(key);
  }

  /** The encoded file. */
  file(source: ImageSource): Promise<Buffer> {
    const known = this.#files.get(source.key);
    if (known !== undefined) {
      this.#files.delete(source.key);
      this.#files.set(source.key, known);
      return known;
    }
    const reading = source.read();
    this.#files.set(source.key, reading);
    reading.then(
      (bytes) => {
        this.#fileBytes += bytes.length;
        void this.#shrink();
      },
      () => this.#files.delete(source.key),
    );
    return reading;
  }

  async #drop(key: string): Promise<void> {
    const file = this.#files.get(key);
    if (file === undefined) return;
    this.#files.delete(key);
    this.#fileBytes -= (await file.catch(() => Buffer.alloc(0))).length;
  }

  async #shrink(): Promise<void> {
    for (const key of this.#files.keys()) {
      if (this.#fileBytes <= KEPT_FILE_BYTES) return;
      await this.#drop(key);
    }
  }

  /** Hex sha256 that names the image's content. */
  async sha256(source: ImageSource): Promise<string> {
    if (source.sha256 !== undefined) return source.sha256;
    return createHash('sha256')
      .update(await this.file(source))
      .digest('hex');
  }

  /** The header, read once for all the forms that a question needs its image in. */
  #header(source: ImageSource, rules: ImageRules): Promise<Header> {
    const known = this.#headers.get(source.key);
    const header = known ?? this.file(source).then((bytes) => readHeader(bytes, rules));
    this.#headers.set(source.key, header);
    return header;
  }

  /** Upright size of the image, from its header. */
  async size(source: ImageSource, rules: ImageRules): Promise<Size> {
    const { width, height } = await this.#header(source, rules);
    return { width, height };
  }

  async #prepare<T>(
    source: ImageSource,
    rules: ImageRules,
    work: (decoded: DecodedImage) => Promise<T>,
  ): Promise<T> {
    const { key } = source;
    const header = await this.#header(source, rules);
    const { width, height } = header;
    const large = width * height > LARGE_PIXELS;
    const limit = large ? this.#largeAtOnce : this.#atOnce;
    return limit(async () => {
      const kept = this.#decoded.get(key);
      const decoding =
        kept ??
        this.file(source).then((bytes) =>
          large ? { width, height, pixels: null, bytes, header } : decodeImage(bytes, rules),
        );
      this.#decoded.delete(key);
      this.#decoded.set(key, decoding);
      try {
        return await work(await decoding);
      } catch (error) {
        this.#decoded.delete(key);
        throw error;
      } finally {
        if ((this.#needed.get(key) ?? 0) < 2) this.#decoded.delete(key);
        else await this.#forget();
      }
    });
  }

  /** Lets go of the pixels used longest ago beyond what is kept. */
  async #forget(): Promise<void> {
    let bytes = 0;
    for (const [key, decoding] of [...this.#decoded].reverse()) {
      const image = await decoding.catch(() => null);
      if (image !== null) bytes += image.pixels?.length ?? image.bytes.length + LARGE_WHOLE_BYTES;
      if (bytes > KEPT_PIXEL_BYTES) this.#decoded.delete(key);
    }
  }

  /** The whole image, in its own bytes where they may pass. */
  async whole(source: ImageSource, rules: ImageRules): Promise<SentImage> {
    const bytes = await this.file(source);
    const header = await this.#header(source, rules);
    if (passesThrough(header, bytes, rules)) return { bytes, width: header.width, height: header.height };
    const bytesOfSize = await this.#prepare(source, rules, (decoded) => prepareWhole(decoded, rules));
    return { bytes: bytesOfSize, ...wholeSize(header, rules) };
  }

  /** Annotated whole image first, then the crops. */
  evidence(
    source: ImageSource,
    boxes: readonly Box[],
    rules: ImageRules,
  ): Promise<{ images: SentImage[]; usedBoxes: Box[] }> {
    return this.#prepare(source, rules, async (decoded) => {
      const { annotated, crops, usedBoxes } = await prepareEvidence(decoded, boxes, rules);
      const targets = planCrops(boxes, decoded, rules).map(({ plan }) => plan.target);
      return {
        images: [
          { bytes: annotated, ...wholeSize(decoded, rules) },
          ...crops.flatMap((bytes, index) => {
            const target = targets[index];
            return target === undefined ? [] : { bytes, ...target };
          }),
        ],
        usedBoxes,
      };
    });
  }

  /** One region. */
  crop(source: ImageSource, box: Box, rules: ImageRules): Promise<SentImage | null> {
    return this.#prepare(source, rules, async (decoded) => {
      const cut = await prepareCrop(decoded, box, rules);
      return cut === null ? null : { bytes: cut.bytes, ...cut.plan.target };
    });
  }

  /** The whole image with boxes drawn. */
  framed(source: ImageSource, boxes: readonly Box[], rules: ImageRules): Promise<SentImage> {
    return this.#prepare(source, rules, async (decoded) => ({
      bytes: await prepareAnnotated(decoded, boxes, rules),
      ...wholeSize(decoded, rules),
    }));
  }
}
