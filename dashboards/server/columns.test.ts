import { appendFile, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { MetricRow, mergeAttempts } from '../../store/metrics.ts';
import { isRow, lastRow, MetricColumns, mergeColumns, restartRows, smoothed } from './columns.ts';

let folder = '';
let file = '';
beforeEach(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'p2r-columns-'));
  file = path.join(folder, 'metrics.jsonl');
});
afterEach(() => rm(folder, { recursive: true }));

const lines = (rows: object[]) => rows.map((row) => `${JSON.stringify(row)}\n`).join('');

test('a row is what the store takes for one', () => {
  const field = fc.oneof(
    fc.double(),
    fc.integer(),
    fc.constant(null),
    fc.string(),
    fc.boolean(),
    fc.constant([]),
  );
  const row = fc.oneof(
    fc.record({ step: field, time: field, kl: field }, { requiredKeys: [] }),
    fc.record({ step: fc.integer({ min: 1 }), time: fc.double({ noNaN: true }), kl: field }),
    fc.anything(),
  );
  fc.assert(
    fc.property(row, (value) => {
      const parsed = JSON.parse(JSON.stringify(value) ?? 'null') as unknown;
      expect(isRow(parsed)).toBe(MetricRow.safeParse(parsed).success);
    }),
    { numRuns: 500 },
  );
});

test('columns grow with the file; a metric that comes later is undefined before', async () => {
  const columns = new MetricColumns(file);
  expect(await columns.update()).toBe(false);
  await writeFile(file, `${lines([{ step: 1, time: 1, kl: 0.5 }])}{"step":2,`);
  expect(await columns.update()).toBe(true);
  expect(columns.length).toBe(1);
  await appendFile(file, `"time":2,"kl":null,"iou":0.25}\n`);
  expect(await columns.update()).toBe(true);
  expect(await columns.update()).toBe(false);
  expect(columns.names()).toEqual(['kl', 'iou']);
  expect([...columns.values('kl')]).toEqual([0.5, Number.NaN]);
  expect([...columns.values('iou')]).toEqual([Number.NaN, 0.25]);
  expect([...columns.values('never')]).toEqual([Number.NaN, Number.NaN]);
});

test('many rows are read whole and in order, over the borders of the pieces they are read in', async () => {
  const rows = Array.from({ length: 40_000 }, (_, index) => ({
    step: index + 1,
    time: index,
    reward_mean: Math.sin(index),
    a_long_name_that_fills_the_pieces: index / 7,
  }));
  await writeFile(file, lines(rows));
  const columns = new MetricColumns(file);
  await columns.update();
  expect(columns.length).toBe(rows.length);
  expect(columns.badLines).toEqual([]);
  expect([...columns.values('reward_mean')]).toEqual(rows.map((row) => row.reward_mean));
});

test('lines that are no rows are named by number, also two values on one line', async () => {
  await writeFile(
    file,
    '{"step":1,"time":1}\nnot json\n{"step":2,"time":2},{"step":3,"time":3}\n{"step":0,"time":1}\n[1\n2]\n{"step":4,"time":4}\n',
  );
  const columns = new MetricColumns(file);
  await columns.update();
  expect([...columns.values('step')]).toEqual([1, 4]);
  expect(columns.badLines).toEqual([2, 3, 4, 5, 6]);
});

test('a file that was replaced is read from its start', async () => {
  await writeFile(file, lines([{ step: 1, time: 1 }]));
  const columns = new MetricColumns(file);
  await columns.update();
  await writeFile(`${file}.new`, lines([{ step: 5, time: 1 }]));
  await rename(`${file}.new`, file);
  expect(await columns.update()).toBe(true);
  expect([...columns.values('step')]).toEqual([5]);
  await rm(file);
  expect(await columns.update()).toBe(true);
  expect(columns.length).toBe(0);
});

test('attempts are merged as the store merges them', async () => {
  const row = fc.record({
    step: fc.integer({ min: 1, max: 12 }),
    time: fc.constant(1),
    kl: fc.double({ noNaN: true, noDefaultInfinity: true }),
  });
  const attempts = fc.array(fc.array(row, { maxLength: 12 }), { maxLength: 3 });
  await fc.assert(
    fc.asyncProperty(attempts, async (parts) => {
      const read = new Map<number, MetricColumns>();
      for (const [index, rows] of parts.entries()) {
        const part = path.join(folder, `${index}.jsonl`);
        await writeFile(part, lines(rows));
        const columns = new MetricColumns(part);
        await columns.update();
        read.set(index + 1, columns);
      }
      const curve = mergeColumns(read);
      const expected = mergeAttempts(parts.map((rows, index) => ({ attempt: index + 1, rows })));
      expect([...curve.steps]).toEqual(expected.map(({ step }) => step));
      expect([...curve.attempts]).toEqual(expected.map(({ attempt }) => attempt));
      expect([...curve.values('kl')].map((value) => value + 0)).toEqual(
        expected.map(({ kl }) => (kl as number) + 0),
      );
    }),
    { numRuns: 40 },
  );
});

test('a restart is where a later attempt takes over', () => {
  const curve = {
    steps: Float64Array.of(1, 2, 3),
    attempts: Uint16Array.of(1, 1, 2),
    names: [],
    values: () => Float64Array.of(),
  };
  expect(restartRows(curve)).toEqual([2]);
});

test('smoothing leaves a constant as it is from its first value on, and gaps as gaps', () => {
  expect(
    [...smoothed(Float64Array.of(3, 3, Number.NaN, 3), 0.9)].map((v) => Math.round(v * 1e9) / 1e9),
  ).toEqual([3, 3, Number.NaN, 3]);
  expect([...smoothed(Float64Array.of(0, 1), 0.5)]).toEqual([0, 2 / 3]);
  expect([...smoothed(Float64Array.of(4, 7), 0)]).toEqual([4, 7]);
});

test('the last row is found without the rest, a torn line left out', async () => {
  expect(await lastRow(file)).toBeNull();
  await writeFile(
    file,
    `${lines([
      { step: 1, time: 1 },
      { step: 2, time: 2 },
    ])}{"step":3`,
  );
  expect(await lastRow(file)).toEqual({ step: 2, time: 2 });
});
