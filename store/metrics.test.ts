import { mkdtempSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { openStore } from './layout.ts';
import { mergeAttempts, readPhaseMetrics, repairCurve } from './metrics.ts';

const row = (step: number, reward_mean: number) => ({ step, time: 0, reward_mean });

test('a later attempt replaces the steps that were lost, and only those', () => {
  const merged = mergeAttempts([
    { attempt: 2, rows: [row(3, 0.33), row(4, 0.44)] },
    { attempt: 1, rows: [row(1, 0.1), row(2, 0.2), row(3, 0.3)] },
  ]);
  expect(merged.map(({ step, reward_mean, attempt }) => [step, reward_mean, attempt])).toEqual([
    [1, 0.1, 1],
    [2, 0.2, 1],
    [3, 0.33, 2],
    [4, 0.44, 2],
  ]);
});

test('every step is there once, ascending', () => {
  const attempts = fc.array(
    fc.record({
      attempt: fc.integer({ min: 1, max: 9 }),
      rows: fc.array(fc.integer({ min: 1, max: 30 }).map((step) => row(step, 0))),
    }),
  );
  fc.assert(
    fc.property(attempts, (all) => {
      const steps = mergeAttempts(all).map(({ step }) => step);
      expect(steps).toEqual(
        [...new Set(all.flatMap(({ rows }) => rows.map(({ step }) => step)))].sort((a, b) => a - b),
      );
    }),
  );
});

test('whatever happens to a committed curve, the newest checkpoint brings it back', async () => {
  const home = mkdtempSync(path.join(os.tmpdir(), 'p2r-curve-'));
  const store = openStore(home);
  const key = 'perceiver-1';
  const lines = (rows: object[]) => rows.map((one) => `${JSON.stringify(one)}\n`).join('');
  const curve = [1, 2, 3, 4, 5].map((step) => row(step, step / 7));
  const files = [1, 2].map((attempt) => path.join(store.attempt(key, attempt), 'metrics.jsonl'));
  // The first attempt was killed after the line of step 3, before its checkpoint.
  const whole = [lines([row(1, 1 / 7), row(2, 2 / 7), { ...row(3, 3 / 7), time: 1 }]), lines(curve.slice(2))];
  const checkpoint = store.checkpoint(key, 5);
  await mkdir(checkpoint, { recursive: true });
  await writeFile(path.join(checkpoint, 'metrics.jsonl'), lines(curve));
  const restored = async () => (await readPhaseMetrics(store, key)).map(({ attempt: _, ...found }) => found);
  const reset = async () => {
    for (const [index, file] of files.entries()) {
      await mkdir(path.dirname(file), { recursive: true });
      await writeFile(file, whole[index] ?? '');
    }
  };
  await reset();
  expect(await repairCurve(store, key, 5, 5)).toEqual([]);
  expect(await readFile(files[0] ?? '', 'utf8')).toBe(whole[0]);
  const damage = fc.record({
    file: fc.constantFrom(0, 1),
    at: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
    bit: fc.integer({ min: 0, max: 7 }),
    cut: fc.boolean(),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(damage, { minLength: 1, maxLength: 3 }), async (strokes) => {
      await reset();
      for (const { file, at, bit, cut } of strokes) {
        const bytes = await readFile(files[file] ?? '');
        const place = Math.floor(at * bytes.length);
        if (!cut && bytes.length > 0) bytes[place] = (bytes[place] ?? 0) ^ (1 << bit);
        await writeFile(files[file] ?? '', cut ? bytes.subarray(0, place) : bytes);
      }
      await repairCurve(store, key, 5, 5);
      expect(await restored()).toEqual(curve);
      expect(await repairCurve(store, key, 5, 5)).toEqual([]);
    }),
    { numRuns: 150 },
  );
  await rm(home, { recursive: true, force: true });
});
