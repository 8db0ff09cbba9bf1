/** ReasonSeg: polygons in labelme's form, turned into boxes. */
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import type { Box } from '../../method/boxes.ts';
import { type Benchmark, BenchmarkError, type Item } from '../item.ts';
import { imageFile } from './images.ts';
import { describe } from './v-star.ts';

const PUBLISHED: Record<string, number> = { train: 239, val: 200, test: 779 };

const Shape = z.object({ label: z.string(), points: z.array(z.tuple([z.number(), z.number()])) });
const Annotation = z.object({
  text: z.array(z.string()).min(1),
  is_sentence: z.boolean(),
  shapes: z.array(Shape),
});

type Point = readonly [number, number];

/** Marks the pixels of a polygon (even-odd filling, with its outline), as OpenCV's fillPoly and polylines do for whole points. */
export function fillPolygon(
  mask: Uint8Array,
  width: number,
  height: number,
  points: readonly Point[],
  value: number,
): void {
  const corners = points.map(([x, y]) => [Math.trunc(x), Math.trunc(y)] as const);
  const edges = corners.map((from, i) => [from, corners[(i + 1) % corners.length] ?? from] as const);
  const set = (x: number, y: number) => {
    if (x >= 0 && y >= 0 && x < width && y < height) mask[y * width + x] = value;
  };
  for (let y = 0; y < height; y++) {
    const crossings = edges
      .flatMap(([[x1, y1], [x2, y2]]) =>
        (y1 <= y && y < y2) || (y2 <= y && y < y1) ? [x1 + ((y - y1) * (x2 - x1)) / (y2 - y1)] : [],
      )
      .sort((a, b) => a - b);
    for (let i = 0; i + 1 < crossings.length; i += 2)
      for (let x = Math.ceil(crossings[i] ?? 0); x <= Math.floor(crossings[i + 1] ?? -1); x++) set(x, y);
  }
  for (const [[x1, y1], [x2, y2]] of edges) {
    const steps = Math.max(Math.abs(x2 - x1), Math.abs(y2 - y1), 1);
    for (let i = 0; i <= steps; i++)
      set(Math.round(x1 + ((x2 - x1) * i) / steps), Math.round(y1 + ((y2 - y1) * i) / steps));
  }
}

/**
 * Boxes of the target polygons, one each, half-open ([min, max + 1]) in whole pixels. Polygons are painted largest first, so that
 * "ignore" areas cut into targets as in the published masks; "flag" shapes are left out, targets with no pixel left too.
 */
export function targetBoxes(shapes: readonly z.infer<typeof Shape>[]): Box[] {
  const used = shapes.filter(
    ({ label, points }) => !label.toLowerCase().includes('flag') && points.length > 2,
  );
  const all = used.flatMap(({ points }) => points);
  const left = Math.trunc(Math.min(...all.map(([x]) => x)));
  const top = Math.trunc(Math.min(...all.map(([, y]) => y)));
  const width = Math.trunc(Math.max(...all.map(([x]) => x))) - left + 1;
  const height = Math.trunc(Math.max(...all.map(([, y]) => y))) - top + 1;
  if (used.length === 0) return [];
  const moved = used.map(({ label, points }) => {
    const own = points.map(([x, y]) => [Math.trunc(x) - left, Math.trunc(y) - top] as const);
    const mask = new Uint8Array(width * height);
    fillPolygon(mask, width, height, own, 1);
    return { ignore: label.toLowerCase().includes('ignore'), own, area: mask.reduce((sum, v) => sum + v, 0) };
  });
  const order = [...moved.entries()].sort(([, a], [, b]) => b.area - a.area);
  const mask = new Uint8Array(width * height);
  for (const [index, { ignore, own }] of order)
    fillPolygon(mask, width, height, own, ignore ? 255 : index + 1);
  return moved.flatMap(({ ignore }, index) => {
    if (ignore) return [];
    let [x1, y1, x2, y2] = [width, height, -1, -1];
    for (let i = 0; i < mask.length; i++) {
      if (mask[i] !== index + 1) continue;
      const [x, y] = [i % width, Math.floor(i / width)];
      [x1, y1, x2, y2] = [Math.min(x1, x), Math.min(y1, y), Math.max(x2, x), Math.max(y2, y)];
    }
    return x2 < 0
      ? []
      : [{ x1: x1 + left, y1: y1 + top, x2: x2 + left + 1, y2: y2 + top + 1, label: 'target' }];
  });
}

/** UTF-8, else Windows-1252, as the published reader does. */
function decoded(bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return new TextDecoder('windows-1252').decode(bytes);
  }
}

/** One split's folder of images and JSON files. The question is the first text of each, as in the published evaluation. */
export function reasonSeg(folder: string): Benchmark {
  const split = path.basename(folder);
  return {
    name: `reason-seg-${split}`,
    title: `ReasonSeg ${split}`,
    licence: 'see dvlab-research/LISA (Apache-2.0 code; images under their own licences)',
    published: PUBLISHED[split] ?? null,
    files: [folder],
    async *items(): AsyncGenerator<Item> {
      const names = (await readdir(folder)).filter((name) => name.endsWith('.json')).sort();
      for (const name of names) {
        const where = path.join(folder, name);
        const parsed = Annotation.safeParse(JSON.parse(decoded(await readFile(where))));
        if (!parsed.success) throw new BenchmarkError(where, describe(parsed.error));
        const { text, is_sentence: sentence, shapes } = parsed.data;
        const truth = targetBoxes(shapes);
        if (truth.length === 0) throw new BenchmarkError(where, 'it has no target polygon');
        const question = text[0] ?? '';
        yield {
          id: name.slice(0, -5),
          image: imageFile(folder, `${name.slice(0, -5)}.jpg`, where),
          question,
          stem: question,
          options: [],
          form: 'text',
          answer: '',
          truth,
          category: [sentence ? 'sentence' : 'phrase'],
          cluster: name.slice(0, -5),
          sentence,
        };
      }
    },
  };
}
