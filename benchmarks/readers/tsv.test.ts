import { mkdtempSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { readCell, readTsv, type TsvRow } from './tsv.ts';

const directory = mkdtempSync(path.join(os.tmpdir(), 'p2r-tsv-'));

function written(text: string | Buffer): string {
  const file = path.join(directory, `${Math.random()}.tsv`);
  writeFileSync(file, text);
  return file;
}

async function rows(file: string, blobs: string[] = []): Promise<TsvRow[]> {
  const all: TsvRow[] = [];
  for await (const row of readTsv(file, blobs)) all.push(row);
  return all;
}

test('quotes, doubled quotes, tabs and line breaks inside cells, CRLF, no newline at the end', async () => {
  const file = written('index\tquestion\tA\r\n0\t"a ""b""\tc\nd"\tx\r\n1\tplain\ty');
  expect((await rows(file)).map(({ text }) => text)).toEqual([
    { index: '0', question: 'a "b"\tc\nd', A: 'x' },
    { index: '1', question: 'plain', A: 'y' },
  ]);
});

test('image cells are located and read back, also across chunks; short ones keep their text', async () => {
  const images = [Buffer.alloc(3_000_000, 'abc'), Buffer.alloc(700_001, 'xyz'), Buffer.alloc(100, 1)];
  const lines = images.map((image, i) => `${i}\t${image.toString('base64')}\tq${i}`);
  const file = written(`index\timage\tquestion\n${lines.join('\n')}\n3\t1\tq3\n`);
  const found = await rows(file, ['image']);
  expect(found.map(({ text }) => text.question)).toEqual(['q0', 'q1', 'q2', 'q3']);
  for (const [i, image] of images.entries()) {
    const cell = found[i]?.blobs.image;
    expect(cell?.text).toBeNull();
    if (cell !== undefined) expect((await readCell(file, cell)).equals(image)).toBe(true);
  }
  expect(found[3]?.blobs.image?.text).toBe('1');
  expect(new Set(found.map(({ blobs }) => blobs.image?.sha256)).size).toBe(4);
});

test('a row that is too short, too long or unfinished is named', async () => {
  await expect(rows(written('a\tb\n1\n'))).rejects.toThrow(/row 1: it has 1 cells, the header 2/);
  await expect(rows(written('a\tb\n1\t2\n1\t2\t3\n'))).rejects.toThrow(/row 2: it has more than 2 cells/);
  await expect(rows(written('a\tb\n1\t"2'))).rejects.toThrow(/ends inside quotes/);
});

test('whatever is written as pandas writes it is read back', async () => {
  const cell = fc.string({ unit: fc.constantFrom('a', 'é', '"', '\t', '\n', ' ', '中') });
  const quote = (value: string) => (/["\t\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(cell, cell), { minLength: 1, maxLength: 8 }), async (table) => {
      const text = table.map((row) => row.map(quote).join('\t')).join('\n');
      const found = await rows(written(`x\ty\n${text}\n`));
      expect(found.map(({ text: { x, y } }) => [x, y])).toEqual(table);
    }),
    { numRuns: 100 },
  );
});
