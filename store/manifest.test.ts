import { appendFileSync, existsSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { describeFiles, filesFault, manifestFault, setAside, writeManifest } from './manifest.ts';

let directory: string;
const file = (name: string) => path.join(directory, name);
beforeEach(() => {
  directory = path.join(mkdtempSync(path.join(os.tmpdir(), 'p2r-manifest-')), 'set');
  mkdirSync(file('images'), { recursive: true });
  writeFileSync(file('rows.jsonl'), 'rows');
  writeFileSync(file('images/a.jpg'), 'image');
  writeFileSync(file('log.jsonl'), 'said');
});

test('a directory without a manifest is not judged; with one, a changed, cut or missing file is named', async () => {
  expect(await manifestFault(directory)).toBeUndefined();
  await writeManifest(directory, ['log.jsonl']);
  writeFileSync(file('log.jsonl'), 'said more');
  writeFileSync(file('.temporary'), 'of a writer');
  expect(await manifestFault(directory)).toBeNull();
  writeFileSync(file('images/a.jpg'), 'imagf');
  expect(await manifestFault(directory)).toMatch(/a\.jpg does not have the recorded sha256/);
  writeFileSync(file('images/a.jpg'), 'imag');
  expect(await manifestFault(directory)).toMatch(/a\.jpg has 4 bytes instead of 5/);
  writeFileSync(file('MANIFEST.json'), '{"files":');
  expect(await manifestFault(directory)).toMatch(/MANIFEST\.json is not readable/);
});

test('of a log that only grows, what it held is compared', async () => {
  const files = await describeFiles(directory, ['log.jsonl']);
  appendFileSync(file('log.jsonl'), ' more');
  expect(await filesFault(directory, files)).toMatch(/9 bytes instead of 4/);
  expect(await filesFault(directory, files, { growing: true })).toBeNull();
  writeFileSync(file('log.jsonl'), 'sald more');
  expect(await filesFault(directory, files, { growing: true })).toMatch(/sha256/);
  writeFileSync(file('log.jsonl'), 'sai');
  expect(await filesFault(directory, files, { growing: true })).toMatch(/3 bytes instead of 4/);
});

test('what is set aside is kept, each under its own name', async () => {
  expect(await setAside(directory)).toBe('set.corrupt-1');
  expect(existsSync(path.join(`${directory}.corrupt-1`, 'rows.jsonl'))).toBe(true);
  mkdirSync(directory);
  expect(await setAside(directory)).toBe('set.corrupt-2');
});
