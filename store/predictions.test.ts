import { appendFileSync, mkdtempSync, readFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { expect, test } from 'vitest';
import { AppendLog } from './predictions.ts';

const file = () => path.join(mkdtempSync(path.join(os.tmpdir(), 'p2r-log-')), 'deep', 'rows.jsonl');

test('every row that resolved is there, once and in order, however many arrive at a time', async () => {
  const log = new AppendLog<{ n: number }>(file());
  await Promise.all(Array.from({ length: 500 }, (_, n) => log.append({ n })));
  await log.append({ n: 500 });
  await log.close();
  const rows = readFileSync(log.file, 'utf8').trimEnd().split('\n');
  expect(rows.map((row) => JSON.parse(row).n)).toEqual(Array.from({ length: 501 }, (_, n) => n));
});

test('a torn last line is closed before the next row', async () => {
  const log = new AppendLog<{ n: number }>(file());
  await log.append({ n: 1 });
  await log.close();
  appendFileSync(log.file, '{"n": 2');
  await log.append({ n: 3 });
  await log.close();
  expect(readFileSync(log.file, 'utf8')).toBe('{"n":1}\n{"n": 2\n{"n":3}\n');
});

test('a row that could not be written rejects', async () => {
  const log = new AppendLog<{ n: number }>('/dev/null/rows.jsonl');
  await expect(log.append({ n: 1 })).rejects.toThrow(/ENOTDIR|EEXIST/);
});
