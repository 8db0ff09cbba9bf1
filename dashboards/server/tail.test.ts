import { appendFile, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { z } from 'zod';
import { fileSignature, JsonLinesTail } from './tail.ts';

let folder = '';
let file = '';
beforeEach(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'p2r-tail-'));
  file = path.join(folder, 'rows.jsonl');
});
afterEach(() => rm(folder, { recursive: true }));

const open = () => new JsonLinesTail(file, z.object({ n: z.number() }));
const numbers = (tail: ReturnType<typeof open>) => tail.rows.map((row) => row.n);

test('a file that is not there yet has no rows and no signature', async () => {
  const tail = open();
  expect(await tail.update()).toBe(false);
  expect(tail.rows).toEqual([]);
  expect(await fileSignature(file)).toBe('');
});

test('appended lines are added; a line without its newline waits for the rest', async () => {
  const tail = open();
  await writeFile(file, '{"n":1}\n{"n":');
  expect(await tail.update()).toBe(true);
  expect(numbers(tail)).toEqual([1]);
  await appendFile(file, '2}\n{"n":3}\n');
  expect(await tail.update()).toBe(true);
  expect(numbers(tail)).toEqual([1, 2, 3]);
  expect(await tail.update()).toBe(false);
});

test('a character that was cut in half between two reads arrives whole', async () => {
  const tail = new JsonLinesTail(file, z.object({ s: z.string() }));
  const line = Buffer.from('{"s":"日本"}\n');
  await writeFile(file, line.subarray(0, 7));
  await tail.update();
  await appendFile(file, line.subarray(7));
  await tail.update();
  expect(tail.rows).toEqual([{ s: '日本' }]);
});

test('lines that are not JSON, or not of the right shape, are named by number', async () => {
  await writeFile(file, '{"n":1}\nnot json\n{"n":"x"}\n{"n":NaN}\n{"n":2}\n');
  const tail = open();
  await tail.update();
  expect(numbers(tail)).toEqual([1, 2]);
  expect(tail.badLines).toEqual([2, 3, 4]);
});

test('a file that was replaced, cut or removed is read from its start', async () => {
  const tail = open();
  await writeFile(file, '{"n":1}\n{"n":2}\n');
  await tail.update();
  await writeFile(`${file}.new`, '{"n":7}\n{"n":8}\n{"n":9}\n');
  await rename(`${file}.new`, file);
  expect(await tail.update()).toBe(true);
  expect(numbers(tail)).toEqual([7, 8, 9]);
  await writeFile(file, '{"n":5}\n');
  await tail.update();
  expect(numbers(tail)).toEqual([5]);
  await rm(file);
  expect(await tail.update()).toBe(true);
  expect(tail.rows).toEqual([]);
});

test('reads that overlap see every line once', async () => {
  const tail = open();
  await writeFile(file, '{"n":1}\n');
  const first = tail.update();
  await appendFile(file, '{"n":2}\n');
  await Promise.all([first, tail.update(), tail.update()]);
  expect(numbers(tail)).toEqual([1, 2]);
});
