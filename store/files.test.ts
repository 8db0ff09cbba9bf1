import { appendFileSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { expect, test } from 'vitest';
import { z } from 'zod';
import {
  CorruptFileError,
  JsonLinesWriter,
  readJson,
  readJsonLines,
  sha256File,
  writeFileAtomic,
  writeJson,
} from './files.ts';

const Row = z.object({ n: z.int() });
const temporary = () => mkdtempSync(path.join(os.tmpdir(), 'p2r-files-'));

test('a written file is whole, and nothing else is left beside it', async () => {
  const directory = temporary();
  const file = path.join(directory, 'deep', 'a.json');
  await writeJson(file, { n: 1 });
  await writeJson(file, { n: 2 });
  expect(await readJson(file, Row)).toEqual({ n: 2 });
  expect(readdirSync(path.dirname(file))).toEqual(['a.json']);
  expect(await sha256File(file)).toMatch(/^[0-9a-f]{64}$/);
});

test('a failed write leaves the old file and no temporary one', async () => {
  const directory = temporary();
  await writeFileAtomic(path.join(directory, 'a'), 'old');
  await expect(writeFileAtomic(path.join(directory, 'a', 'b'), 'new')).rejects.toThrow();
  expect(readFileSync(path.join(directory, 'a'), 'utf8')).toBe('old');
  expect(readdirSync(directory)).toEqual(['a']);
});

test('a missing file is null, a wrong one an error that names file and key', async () => {
  const file = path.join(temporary(), 'x.json');
  expect(await readJson(file, Row)).toBeNull();
  writeFileSync(file, '{"n": "one"}');
  await expect(readJson(file, Row)).rejects.toThrow(/x\.json is not readable as expected: n: /);
  writeFileSync(file, '{"n":');
  await expect(readJson(file, Row)).rejects.toThrow(CorruptFileError);
});

test('a torn last line is left out, and the next append does not glue to it', async () => {
  const file = path.join(temporary(), 'rows.jsonl');
  const writer = new JsonLinesWriter(file);
  await Promise.all([writer.append({ n: 1 }), writer.append({ n: 2 }, { n: 3 })]);
  appendFileSync(file, '{"n": 4');
  expect(await readJsonLines(file, Row)).toEqual([{ n: 1 }, { n: 2 }, { n: 3 }]);
  await new JsonLinesWriter(file).append({ n: 5 });
  const bad: number[] = [];
  expect(await readJsonLines(file, Row, (line) => bad.push(line))).toEqual([
    { n: 1 },
    { n: 2 },
    { n: 3 },
    { n: 5 },
  ]);
  expect(bad).toEqual([4]);
});
