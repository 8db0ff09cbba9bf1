import { createHash } from 'node:crypto';
import type { Box, Size } from './boxes.ts';

/**
 * Boxes of the same number and sizes as the given ones, each put anywhere in the image with equal chance. The place follows from `seed`
 * (a sample's id) alone, so that every model is shown the same. Units: pixels of the original image.
 * @see paper, Figure 12 (random boxes)
 */
export function randomBoxes(boxes: readonly Box[], image: Size, seed: string): Box[] {
  return boxes.map((box, index) => {
    const [across, down] = fractions(`${seed}/${index}`);
    const [width, height] = [box.x2 - box.x1, box.y2 - box.y1];
    const x1 = Math.round(across * Math.max(0, image.width - width));
    const y1 = Math.round(down * Math.max(0, image.height - height));
    return { ...box, x1, y1, x2: x1 + width, y2: y1 + height };
  });
}

/** Two numbers in [0, 1) from the sha256 of a text. */
function fractions(text: string): [number, number] {
  const digest = createHash('sha256').update(text).digest();
  return [digest.readUInt32BE(0) / 2 ** 32, digest.readUInt32BE(4) / 2 ** 32];
}
