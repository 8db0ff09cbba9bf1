import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { checkpointFault, committedSteps } from './checkpoints.ts';
import { openStore, type Store } from './layout.ts';

let store: Store;

beforeEach(() => {
  store = openStore(mkdtempSync(path.join(os.tmpdir(), 'p2r-checkpoints-')));
});

function commit(step: number, weights: string): string {
  const directory = store.checkpoint('perceiver-1', step);
  mkdirSync(directory, { recursive: true });
  writeFileSync(path.join(directory, 'model.safetensors'), weights);
  const sha256 = createHash('sha256').update(weights).digest('hex');
  const marker = {
    step,
    files: [{ path: 'model.safetensors', size: weights.length, sha256 }],
    lease_token: 1,
    job_id: 'j',
    created_at: 1,
  };
  writeFileSync(path.join(directory, 'COMMITTED.json'), JSON.stringify(marker));
  return directory;
}

test('only directories with a marker are checkpoints', async () => {
  commit(10, 'a');
  commit(5, 'b');
  mkdirSync(store.checkpoint('perceiver-1', 15));
  mkdirSync(path.join(store.checkpoints('perceiver-1'), '.step-000020.1'));
  expect(await committedSteps(store, 'perceiver-1')).toEqual([5, 10]);
  expect(await committedSteps(store, 'perceiver-2')).toEqual([]);
});

test('a truncated, changed or missing file is named', async () => {
  const directory = commit(5, 'weights');
  const file = path.join(directory, 'model.safetensors');
  expect(await checkpointFault(directory)).toBeNull();
  writeFileSync(file, 'weight');
  expect(await checkpointFault(directory)).toMatch(/model\.safetensors has 6 bytes instead of 7/);
  writeFileSync(file, 'weighty');
  expect(await checkpointFault(directory)).toMatch(/does not have the recorded sha256/);
});
