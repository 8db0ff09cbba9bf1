import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { licenceOf, type ModelRecord, modelFaults, readModelRecord } from './model-records.ts';

let directory: string;
const accuracy = { share: 0.5, interval: [0.4, 0.6] as [number, number], questions: 96 };
const mean = { mean: 0.5, interval: [0.4, 0.6] as [number, number] };
const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');

const RECORD: ModelRecord = {
  name: 'test-base',
  size: { name: 'test' },
  seed: 1,
  commit: 'abc',
  parameters: 1000,
  figures: {
    'held-out': { direct: accuracy, p2r: accuracy, true_boxes: accuracy, hit_rate: mean, iou: mean },
  },
  files: { 'config.json': sha256('{}'), 'model.safetensors': sha256('weights') },
};
const write = (name: string, text: string) => writeFileSync(path.join(directory, name), text);

beforeEach(() => {
  directory = mkdtempSync(path.join(os.tmpdir(), 'p2r-model-'));
  write('config.json', '{}');
  write('model.safetensors', 'weights');
  write('training.json', JSON.stringify(RECORD));
  write('README.md', '---\nlicense: apache-2.0\npipeline_tag: image-text-to-text\n---\n# test-base\n');
});

test('the files as they were recorded are whole; card and record may change', async () => {
  expect(await readModelRecord(directory)).toEqual(RECORD);
  expect(await modelFaults(directory, RECORD)).toEqual([]);
  expect(await licenceOf(directory)).toBe('apache-2.0');
  write('README.md', 'license: mine, but not in the front matter');
  expect(await modelFaults(directory, RECORD)).toEqual([]);
  expect(await licenceOf(directory)).toBeNull();
});

test('figures of one split alone are those of held-out scenes', async () => {
  write('training.json', JSON.stringify({ ...RECORD, figures: RECORD.figures['held-out'] }));
  expect(await readModelRecord(directory)).toEqual(RECORD);
});

test('a changed, a missing and an added file are named', async () => {
  write('model.safetensors', 'weighty');
  rmSync(path.join(directory, 'config.json'));
  write('chat_template.jinja', 'other');
  const faults = await modelFaults(directory, RECORD);
  expect(faults.map(({ file, why }) => `${file} ${why}`)).toEqual([
    'config.json is missing',
    `model.safetensors is damaged: its sha256 begins with ${sha256('weighty').slice(0, 12)}, that of training.json with ${sha256('weights').slice(0, 12)}`,
    'chat_template.jinja is not among the files of training.json',
  ]);
});

test('no record is null; one that names files elsewhere or holds no sha256 is refused', async () => {
  for (const files of [{ '../secret': sha256('') }, { 'config.json': 'short' }]) {
    write('training.json', JSON.stringify({ ...RECORD, files }));
    await expect(readModelRecord(directory)).rejects.toThrow(/training\.json.*files/s);
  }
  rmSync(path.join(directory, 'training.json'));
  expect(await readModelRecord(directory)).toBeNull();
});
