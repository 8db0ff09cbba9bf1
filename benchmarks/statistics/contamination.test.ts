import sharp from 'sharp';
import { expect, test } from 'vitest';
import { contaminated, hammingDistance, hashImage } from './contamination.ts';

/** A picture of coloured bands that differ by seed. */
async function picture(seed: number): Promise<Buffer> {
  const [width, height] = [180, 160];
  const pixels = Buffer.from(
    Array.from({ length: width * height }, (_, i) => {
      const [column, row] = [Math.floor((i % width) / 20), Math.floor(i / width / 20)];
      return ((column * 7919 + row * 104729 + seed * 1299709) * 31) % 251;
    }),
  );
  return sharp(pixels, { raw: { width, height, channels: 1 } })
    .png()
    .toBuffer();
}

test('the same bytes, a smaller JPEG of the same picture, and another picture', async () => {
  const original = await picture(1);
  const copy = await sharp(original).resize(120).jpeg({ quality: 80 }).toBuffer();
  const training = [await hashImage('train-1', original), await hashImage('train-2', await picture(2))];
  const evaluation = [
    await hashImage('same', original),
    await hashImage('copy', copy),
    await hashImage('other', await picture(3)),
  ];
  const found = contaminated(evaluation, training);
  expect(found.map(({ evaluation: id, training: from, kind }) => [id, from, kind])).toEqual([
    ['same', 'train-1', 'exact'],
    ['copy', 'train-1', 'perceptual'],
  ]);
});

test('distances count bits', () => {
  expect(hammingDistance(0b1011n, 0b0010n)).toBe(2);
  expect(hammingDistance(0n, 2n ** 64n - 1n)).toBe(64);
});
