/** Whether evaluation images are among the training images: the same bytes, or nearly the same picture. */
import { createHash } from 'node:crypto';
import sharp from 'sharp';

/** An image's identity: sha256 of its bytes, and a 64-bit difference hash of what it shows. */
export type ImageHashes = { id: string; sha256: string; perceptual: bigint };

/** A pair that is the same or looks the same. `distance`: differing bits of 64; 0 bits with other bytes is a re-encoded copy. */
export type Contamination = {
  evaluation: string;
  training: string;
  kind: 'exact' | 'perceptual';
  distance: number;
};

/** Hashes one encoded image. Throws sharp's error when it cannot be decoded. */
export async function hashImage(id: string, bytes: Buffer): Promise<ImageHashes> {
  const { data } = await sharp(bytes, { autoOrient: true })
    .greyscale()
    .resize(9, 8, { fit: 'fill' })
    .raw()
    .toBuffer({ resolveWithObject: true });
  let perceptual = 0n;
  for (let row = 0; row < 8; row++) {
    for (let column = 0; column < 8; column++) {
      const [left, right] = [data[row * 9 + column] ?? 0, data[row * 9 + column + 1] ?? 0];
      perceptual = (perceptual << 1n) | (left < right ? 1n : 0n);
    }
  }
  return { id, sha256: createHash('sha256').update(bytes).digest('hex'), perceptual };
}

/** Differing bits. */
export function hammingDistance(a: bigint, b: bigint): number {
  let bits = a ^ b;
  let count = 0;
  while (bits !== 0n) {
    bits &= bits - 1n;
    count++;
  }
  return count;
}

/** Every evaluation image with its nearest training image, where they are the same or at most `within` bits apart. */
export function contaminated(
  evaluation: readonly ImageHashes[],
  training: readonly ImageHashes[],
  within = 4,
): Contamination[] {
  const exact = new Map(training.map((image) => [image.sha256, image.id]));
  return evaluation.flatMap((image): Contamination[] => {
    const same = exact.get(image.sha256);
    if (same !== undefined) return [{ evaluation: image.id, training: same, kind: 'exact', distance: 0 }];
    let nearest: { id: string; distance: number } | undefined;
    for (const { id, perceptual } of training) {
      const distance = hammingDistance(image.perceptual, perceptual);
      if (distance <= within && distance < (nearest?.distance ?? 65)) nearest = { id, distance };
    }
    return nearest === undefined
      ? []
      : [{ evaluation: image.id, training: nearest.id, kind: 'perceptual', distance: nearest.distance }];
  });
}
