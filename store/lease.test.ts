import { mkdtempSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { expect, test } from 'vitest';
import { readJson } from './files.ts';
import { openStore } from './layout.ts';
import { Lease, leaseFile, takeLease } from './lease.ts';

test('every taking gives a larger token, and the file holds the last', async () => {
  const store = openStore(mkdtempSync(path.join(os.tmpdir(), 'p2r-lease-')));
  const first = await takeLease(store, 'perceiver-1', 'attempt 1');
  const second = await takeLease(store, 'perceiver-1', 'attempt 2');
  expect([first.token, second.token]).toEqual([1, 2]);
  expect(await readJson(leaseFile(store, 'perceiver-1'), Lease)).toEqual(second);
});

test('of many who take it at the same moment, no two hold the same token, and one owns the phase', async () => {
  const store = openStore(mkdtempSync(path.join(os.tmpdir(), 'p2r-lease-')));
  await takeLease(store, 'perceiver-1', 'before');
  const takers = Array.from({ length: 20 }, (_, n) => takeLease(store, 'perceiver-1', `taker ${n}`));
  const taken = (await Promise.allSettled(takers)).flatMap((result) =>
    result.status === 'fulfilled' ? [result.value] : [],
  );
  expect(taken.length).toBeGreaterThan(0);
  expect(new Set(taken.map(({ token }) => token)).size).toBe(taken.length);
  expect(taken).toContainEqual(await readJson(leaseFile(store, 'perceiver-1'), Lease));
  const next = await takeLease(store, 'perceiver-1', 'after');
  for (const { token } of taken) expect(next.token).toBeGreaterThan(token);
});
