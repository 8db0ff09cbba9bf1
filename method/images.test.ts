import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { decodeImage, IMAGE_RULES, prepareEvidence, prepareWhole } from './images.ts';

const box = (x1: number, y1: number, x2: number, y2: number) => ({ x1, y1, x2, y2, label: '' });
const raw = async (bytes: Buffer) => sharp(bytes).raw().toBuffer({ resolveWithObject: true });
const pixel = ({ data, info }: Awaited<ReturnType<typeof raw>>, x: number, y: number) => [
  ...data.subarray((y * info.width + x) * 3, (y * info.width + x) * 3 + 3),
];
/** A plain grey PNG. */
const grey = (width: number, height: number) =>
  sharp({ create: { width, height, channels: 3, background: { r: 100, g: 100, b: 100 } } })
    .png()
    .toBuffer();

describe('the tiny rules', () => {
  const rules = IMAGE_RULES.tiny;

  it('resize 960 x 960 to 320 x 320 by averaging 3 x 3 pixels', async () => {
    const noise = Buffer.from(
      Array.from({ length: 960 * 960 * 3 }, (_, i) => (i * 7919 + ((i * i) % 251)) % 256),
    );
    const png = await sharp(noise, { raw: { width: 960, height: 960, channels: 3 } })
      .png()
      .toBuffer();
    const whole = await raw(await prepareWhole(await decodeImage(png, rules), rules));
    expect(whole.info).toMatchObject({ width: 320, height: 320, channels: 3 });
    for (const [x, y] of [
      [0, 0],
      [17, 300],
      [319, 319],
    ] as const) {
      const mean = [0, 1, 2].map((c) => {
        let sum = 0;
        for (let dy = 0; dy < 3; dy++) {
          for (let dx = 0; dx < 3; dx++) sum += noise[((y * 3 + dy) * 960 + x * 3 + dx) * 3 + c] ?? 0;
        }
        return sum / 9;
      });
      for (const [c, value] of pixel(whole, x, y).entries())
        expect(Math.abs(value - (mean[c] ?? 0))).toBeLessThanOrEqual(0.51);
    }
  });

  it('draw a 3 pixel line as 1 pixel of full colour centred on the edge', async () => {
    const decoded = await decodeImage(await grey(960, 960), rules);
    const boxes = [box(301.5, 301.5, 601.5, 601.5), box(0, 700, 40, 740)];
    const { annotated, crops, usedBoxes } = await prepareEvidence(decoded, boxes, rules);
    const image = await raw(annotated);
    expect(pixel(image, 100, 150)).toEqual([255, 0, 0]);
    expect(pixel(image, 200, 150)).toEqual([255, 0, 0]);
    expect(pixel(image, 150, 100)).toEqual([255, 0, 0]);
    expect(pixel(image, 100, 100)).toEqual([255, 0, 0]);
    for (const [x, y] of [
      [99, 150],
      [101, 150],
      [150, 150],
      [201, 201],
    ] as const) {
      expect(pixel(image, x, y)).toEqual([100, 100, 100]);
    }
    expect(crops).toHaveLength(2);
    expect(usedBoxes).toEqual(boxes);
  });

  it('crop the unannotated image, and leave out what is too small', async () => {
    const decoded = await decodeImage(await grey(960, 960), rules);
    const boxes = [box(-40, 100, -20, 130), box(300, 300, 400, 400)];
    const { crops, usedBoxes } = await prepareEvidence(decoded, boxes, rules);
    expect(usedBoxes).toEqual([boxes[1]]);
    const crop = await raw(crops[0] ?? Buffer.alloc(0));
    expect(crop.info).toMatchObject({ width: 128, height: 128 });
    expect(new Set(crop.data)).toEqual(new Set([100]));
  });

  it('give the plain image when there is no box', async () => {
    const decoded = await decodeImage(await grey(960, 960), rules);
    const { annotated, crops, usedBoxes } = await prepareEvidence(decoded, [], rules);
    expect(annotated).toEqual(await prepareWhole(decoded, rules));
    expect([crops, usedBoxes]).toEqual([[], []]);
  });
});
