import { type DecodedImage, decodeImage, type ImageRules } from './images.ts';

type Entry = { image: Promise<DecodedImage>; bytes: number };

/**
 * Decoded images kept for the rollouts that share them: each image is decoded once, also when many ask at the same time, and the least
 * recently used go when the kept pixels exceed `maxBytes`. An image that could not be decoded is not kept.
 */
export class DecodedImages {
  readonly #entries = new Map<string, Entry>();
  readonly #maxBytes: number;
  #bytes = 0;

  /** @param maxBytes decoded pixels and file bytes to keep; one 8K image takes about 105 MB. */
  constructor({ maxBytes = 512_000_000 }: { maxBytes?: number } = {}) {
    this.#maxBytes = maxBytes;
  }

  /** Bytes of the images kept now. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * The decoded image under a key that names its content (its sha256, or dataset and index).
   * @param load gives the file's bytes; called only when the image is not there
   * @throws what `load` throws, and ImageError as `decodeImage` does
   */
  get(key: string, rules: ImageRules, load: () => Promise<Buffer>): Promise<DecodedImage> {
    const known = this.#entries.get(key);
    if (known !== undefined) {
      this.#entries.delete(key);
      this.#entries.set(key, known);
      return known.image;
    }
    const entry: Entry = { image: load().then((bytes) => decodeImage(bytes, rules)), bytes: 0 };
    this.#entries.set(key, entry);
    entry.image.then(
      (image) => this.#weigh(key, entry, image),
      () => this.#entries.delete(key),
    );
    return entry.image;
  }

  #weigh(key: string, entry: Entry, image: DecodedImage): void {
    if (this.#entries.get(key) !== entry) return;
    entry.bytes = (image.pixels?.length ?? 0) + image.bytes.length;
    this.#bytes += entry.bytes;
    for (const [oldest, { bytes }] of this.#entries) {
      if (this.#bytes <= this.#maxBytes) break;
      this.#entries.delete(oldest);
      this.#bytes -= bytes;
    }
  }
}
