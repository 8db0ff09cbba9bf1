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

describe('images of every kind', () => {
  const rules = IMAGE_RULES.paper;
  /** 60 x 40, left half red, right half blue. */
  const halves = () =>
    sharp({ create: { width: 60, height: 40, channels: 3, background: '#ff0000' } }).composite([
      { input: { create: { width: 30, height: 40, channels: 3, background: '#0000ff' } }, left: 30, top: 0 },
    ]);
  const decoded = async (bytes: Buffer) => {
    const image = await decodeImage(bytes, rules);
    const { width, height, pixels } = image;
    expect(pixels).toHaveLength(width * height * 3);
    const at = (x: number, y: number) => [
      ...(pixels?.subarray((y * width + x) * 3, (y * width + x) * 3 + 3) ?? []),
    ];
    return { width, height, at };
  };
  const near = (wanted: number[]) =>
    wanted.map((value) => expect.toSatisfy((got: number) => Math.abs(got - value) <= 12));

  it('turns EXIF-oriented images upright, in size and pixels', async () => {
    // Orientation 6: to be turned clockwise by a quarter, so that left comes on top.
    const image = await decoded(
      await halves().withMetadata({ orientation: 6 }).jpeg({ quality: 100 }).toBuffer(),
    );
    expect([image.width, image.height]).toEqual([40, 60]);
    expect(image.at(20, 5)).toEqual(near([255, 0, 0]));
    expect(image.at(20, 55)).toEqual(near([0, 0, 255]));
  });

  it('converts CMYK', async () => {
    const bytes = await sharp({ create: { width: 60, height: 40, channels: 3, background: '#ffffff' } })
      .toColourspace('cmyk')
      .jpeg({ quality: 100 })
      .toBuffer();
    expect((await sharp(bytes).metadata()).space).toBe('cmyk');
    expect((await decoded(bytes)).at(30, 20)).toEqual(near([255, 255, 255]));
  });

  it('takes 16-bit images down to 8', async () => {
    const bytes = await halves().toColourspace('rgb16').png().toBuffer();
    expect((await sharp(bytes).metadata()).depth).toBe('ushort');
    const image = await decoded(bytes);
    expect([image.at(5, 5), image.at(55, 5)]).toEqual([near([255, 0, 0]), near([0, 0, 255])]);
  });

  it('gives grey images three channels', async () => {
    const bytes = await sharp({ create: { width: 60, height: 40, channels: 3, background: '#646464' } })
      .toColourspace('b-w')
      .png()
      .toBuffer();
    expect((await sharp(bytes).metadata()).channels).toBe(1);
    expect((await decoded(bytes)).at(10, 10)).toEqual([100, 100, 100]);
  });

  it('lays transparency on white', async () => {
    const bytes = await sharp({
      create: { width: 60, height: 40, channels: 4, background: { r: 0, g: 0, b: 0, alpha: 0 } },
    })
      .png()
      .toBuffer();
    expect((await decoded(bytes)).at(10, 10)).toEqual([255, 255, 255]);
  });

  it('takes the first frame of an animation', async () => {
    const frames = await Promise.all([halves().png().toBuffer(), halves().negate().png().toBuffer()]);
    const bytes = await sharp(frames, { join: { animated: true } })
      .gif()
      .toBuffer();
    expect((await sharp(bytes).metadata()).pages).toBe(2);
    const image = await decoded(bytes);
    expect([image.width, image.height]).toEqual([60, 40]);
    expect(image.at(5, 5)).toEqual(near([255, 0, 0]));
  });

  it('refuses truncated and damaged files', async () => {
    const noise = Buffer.from(
      Array.from({ length: 300 * 300 * 3 }, (_, i) => Math.imul(i, 2654435761) >>> 24),
    );
    const image = sharp(noise, { raw: { width: 300, height: 300, channels: 3 } });
    for (const bytes of [
      await image.jpeg().toBuffer(),
      await image.png().toBuffer(),
      await image.webp().toBuffer(),
    ]) {
      await expect(decodeImage(bytes.subarray(0, bytes.length / 2), rules)).rejects.toMatchObject({
        code: 'unreadable',
      });
    }
  });

  it('refuses what is no image, or none with pixels of its own', async () => {
    for (const text of ['', 'hello', '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>']) {
      await expect(decodeImage(Buffer.from(text), rules)).rejects.toMatchObject({
        name: 'ImageError',
        code: 'unsupported',
      });
    }
  });

  it('refuses samples whose white is not defined', async () => {
    // A TIFF of one grey pixel as a 32-bit float, uncompressed: header, ten tags (id, type, count, value), pixel.
    const tags = [
      [256, 3, 1],
      [257, 3, 1],
      [258, 3, 32],
      [259, 3, 1],
      [262, 3, 1],
      [273, 4, 8 + 2 + 10 * 12 + 4],
      [277, 3, 1],
      [278, 3, 1],
      [279, 4, 4],
      [339, 3, 3],
    ] as const;
    const bytes = Buffer.alloc(8 + 2 + tags.length * 12 + 4 + 4);
    bytes.write('II*\0', 'latin1');
    bytes.writeUInt32LE(8, 4);
    bytes.writeUInt16LE(tags.length, 8);
    for (const [i, [id, type, value]] of tags.entries()) {
      bytes.writeUInt16LE(id, 10 + i * 12);
      bytes.writeUInt16LE(type, 12 + i * 12);
      bytes.writeUInt32LE(1, 14 + i * 12);
      bytes.writeUInt32LE(value, 18 + i * 12);
    }
    bytes.writeFloatLE(0.5, bytes.length - 4);
    expect((await sharp(bytes).metadata()).depth).toBe('float');
    await expect(decodeImage(bytes, rules)).rejects.toMatchObject({ code: 'unsupported' });
  });

  it('refuses decompression bombs by their header', async () => {
    const bytes = await sharp({
      create: { width: 5000, height: 5000, channels: 3, background: '#000' },
      limitInputPixels: false,
    })
      .png({ compressionLevel: 9 })
      .toBuffer();
    expect(bytes.length).toBeLessThan(200_000);
    await expect(decodeImage(bytes, { ...rules, inputPixelLimit: 20_000_000 })).rejects.toMatchObject({
      code: 'too_large',
    });
  });
});

describe('images too large to keep decoded', () => {
  it('give the same evidence, part by part', async () => {
    const rules = { ...IMAGE_RULES.paper, encoding: 'png' as const };
    const noise = Buffer.from(
      Array.from({ length: 400 * 300 * 3 }, (_, i) => Math.imul(i, 2654435761) >>> 24),
    );
    const bytes = await sharp(noise, { raw: { width: 400, height: 300, channels: 3 } })
      .resize(900, 700)
      .png()
      .toBuffer();
    const kept = await decodeImage(bytes, rules);
    const boxes = [box(100, 50, 400, 300), box(500, 500, 560, 540)];
    const evidence = await prepareEvidence(kept, boxes, rules);
    const parted = await prepareEvidence({ ...kept, pixels: null }, boxes, rules);
    expect(parted.usedBoxes).toEqual(evidence.usedBoxes);
    for (const [a, b] of [
      [evidence.annotated, parted.annotated],
      ...evidence.crops.map((crop, i) => [crop, parted.crops[i]]),
    ]) {
      const [one, two] = [await raw(a ?? Buffer.alloc(0)), await raw(b ?? Buffer.alloc(0))];
      expect(one.info).toMatchObject({ width: two.info.width, height: two.info.height });
      const worst = one.data.reduce(
        (most, value, i) => Math.max(most, Math.abs(value - (two.data[i] ?? 0))),
        0,
      );
      expect(worst).toBe(0);
    }
  });

  it('are not decoded whole', async () => {
    const bytes = await sharp({ create: { width: 9000, height: 8000, channels: 3, background: '#404040' } })
      .jpeg()
      .toBuffer();
    const image = await decodeImage(bytes, IMAGE_RULES.paper);
    expect(image.pixels).toBeNull();
    const { annotated, crops } = await prepareEvidence(
      image,
      [box(4000, 4000, 4100, 4100)],
      IMAGE_RULES.paper,
    );
    expect((await raw(annotated)).info).toMatchObject({ width: 1536, height: 1344 });
    expect(pixel(await raw(crops[0] ?? Buffer.alloc(0)), 10, 10)).toEqual([64, 64, 64]);
  });
});
