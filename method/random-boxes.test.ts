import fc from 'fast-check';
import { expect, test } from 'vitest';
import { randomBoxes } from './random-boxes.ts';

test('random boxes keep number, sizes and labels, lie in the image, and follow from the seed', () => {
  const image = { width: 960, height: 640 };
  const box = fc.record({
    x1: fc.integer({ min: 0, max: 900 }),
    y1: fc.integer({ min: 0, max: 600 }),
    width: fc.integer({ min: 1, max: 960 }),
    height: fc.integer({ min: 1, max: 640 }),
  });
  fc.assert(
    fc.property(fc.array(box, { maxLength: 4 }), fc.string(), (sizes, seed) => {
      const boxes = sizes.map(({ x1, y1, width, height }) => ({
        x1,
        y1,
        x2: x1 + width,
        y2: y1 + height,
        label: 'thing',
      }));
      const moved = randomBoxes(boxes, image, seed);
      expect(moved).toEqual(randomBoxes(boxes, image, seed));
      moved.forEach((one, index) => {
        const before = boxes[index];
        expect([one.x2 - one.x1, one.y2 - one.y1, one.label]).toEqual([
          (before?.x2 ?? 0) - (before?.x1 ?? 0),
          (before?.y2 ?? 0) - (before?.y1 ?? 0),
          'thing',
        ]);
        expect(one.x1 >= 0 && one.y1 >= 0 && one.x2 <= image.width && one.y2 <= image.height).toBe(true);
      });
    }),
  );
});

test('places differ between samples and between the boxes of one', () => {
  const boxes = [0, 1].map(() => ({ x1: 0, y1: 0, x2: 10, y2: 10, label: '' }));
  const places = ['a', 'b', 'c'].flatMap((seed) =>
    randomBoxes(boxes, { width: 1000, height: 1000 }, seed).map(({ x1, y1 }) => `${x1},${y1}`),
  );
  expect(new Set(places).size).toBe(6);
});
