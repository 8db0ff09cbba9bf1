import { cpSync, mkdtempSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { inspectModel } from './models.ts';

const TINY = path.resolve(import.meta.dirname, '..', 'models', 'tiny');
let copy: string;

beforeEach(() => {
  copy = path.join(mkdtempSync(path.join(os.tmpdir(), 'p2r-model-')), 'tiny');
  cpSync(TINY, copy, { recursive: true });
});

test('the key names the content, not the place', async () => {
  expect(await inspectModel(copy)).toBe(await inspectModel(TINY));
  writeFileSync(path.join(copy, 'training.json'), '{}');
  expect(await inspectModel(copy)).toBe(await inspectModel(TINY));
  writeFileSync(path.join(copy, 'chat_template.jinja'), 'other');
  expect(await inspectModel(copy)).not.toBe(await inspectModel(TINY));
});

test('truncated weights are refused before anything loads them', async () => {
  truncateSync(path.join(copy, 'model.safetensors'), 1_000_000);
  await expect(inspectModel(copy)).rejects.toThrow(/has 1000000 bytes where its header promises \d+/);
  truncateSync(path.join(copy, 'model.safetensors'), 4);
  await expect(inspectModel(copy)).rejects.toThrow(/empty or truncated/);
});

test('another architecture, a missing config and a missing directory are named', async () => {
  const config = path.join(copy, 'config.json');
  writeFileSync(config, readFileSync(config, 'utf8').replace('"qwen3_vl"', '"llama"'));
  await expect(inspectModel(copy)).rejects.toThrow(/model_type "llama"; P2R needs a "qwen3_vl"/);
  await expect(inspectModel(path.join(copy, 'nowhere'))).rejects.toThrow(/config\.json is missing/);
});
