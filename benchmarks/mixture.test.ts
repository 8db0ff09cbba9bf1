import { existsSync, mkdtempSync, readFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import sharp from 'sharp';
import { expect, test } from 'vitest';
import { readSamples } from '../store/samples.ts';
import { fingerprintBenchmark, fingerprintPage } from './fingerprint.ts';
import type { Benchmark, Item } from './item.ts';
import { draw, writeMixture } from './mixture.ts';

const bytes = await sharp({ create: { width: 40, height: 30, channels: 3, background: 'red' } })
  .jpeg()
  .toBuffer();

function source(name: string, ids: string[]): Benchmark {
  return {
    name,
    title: name,
    licence: `licence of ${name}`,
    published: ids.length + 1,
    files: [],
    async *items(): AsyncGenerator<Item> {
      for (const id of ids)
        yield {
          id,
          image: { key: 'one', read: async () => bytes },
          question: `What is ${id}?`,
          stem: '',
          options: [],
          form: 'text',
          answer: 'it',
          truth: [{ x1: 1, y1: 2, x2: 3, y2: 4, label: 'x' }],
          category: ['all'],
          cluster: id,
        };
    },
  };
}

const ids = Array.from({ length: 5000 }, (_, i) => String(i));

test('a draw depends on the seed and the ids, not on the order of the file', async () => {
  const chosen = async (of: string[], seed: number) =>
    (await draw({ source: source('a', of), count: 300 }, seed)).map(({ id }) => id).sort();
  const first = await chosen(ids, 1);
  expect(new Set(first).size).toBe(300);
  expect(await chosen(ids.toReversed(), 1)).toEqual(first);
  expect(await chosen(ids, 2)).not.toEqual(first);
  await expect(draw({ source: source('a', ids.slice(0, 5)), count: 6 }, 1)).rejects.toThrow(
    /has 5 questions and 6/,
  );
});

test('the mixture is a dataset of the project, whole or absent, with its licences', async () => {
  const folder = path.join(mkdtempSync(path.join(os.tmpdir(), 'p2r-mix-')), 'mixture');
  const shares = [
    { source: source('a', ids), count: 3 },
    { source: source('b', ids), count: 4 },
  ];
  expect(await writeMixture(folder, shares, 7)).toBe(7);
  const samples = await readSamples(folder);
  expect(samples.map(({ sample_id }) => sample_id.split('/')[0]).sort()).toEqual([...'aaabbbb']);
  expect(samples[0]).toMatchObject({ width: 40, height: 30, boxes: [[1, 2, 3, 4]], split: 'train' });
  expect(readFileSync(samples[0]?.image ?? '')).toEqual(bytes);
  expect(readFileSync(path.join(folder, 'mixture.json'), 'utf8')).toContain('licence of b');
  const short = [{ source: source('c', ['1']), count: 2 }];
  await expect(writeMixture(`${folder}-short`, short, 7)).rejects.toThrow();
  expect(existsSync(`${folder}-short`)).toBe(false);
});

test('the fingerprint page counts, and tells a file that is not the published one', async () => {
  const page = await fingerprintBenchmark(source('a', ['1', '2']));
  expect(page).toMatchObject({
    count: 2,
    images: 1,
    clusters: 2,
    width: { least: 40, most: 40 },
    withBoxes: 2,
  });
  expect(fingerprintPage(page)).toContain('PUBLISHED: 3');
  const other = await fingerprintBenchmark(source('a', ['1', '3']));
  expect(other.fingerprint).not.toBe(page.fingerprint);
});
