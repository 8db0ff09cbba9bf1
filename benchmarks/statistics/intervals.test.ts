import { expect, test } from 'vitest';
import { wilsonInterval } from '../../method/intervals.ts';
import { clusterBootstrap } from './bootstrap.ts';

const rows = (clusters: number, each: number, right: (cluster: number, row: number) => boolean) =>
  Array.from({ length: clusters * each }, (_, i) => ({
    cluster: String(Math.floor(i / each)),
    value: right(Math.floor(i / each), i % each) ? 1 : 0,
  }));

test('on independent questions the bootstrap agrees with Wilson (161 of 191: 78.5 to 88.8)', () => {
  const [low, high] = clusterBootstrap(rows(191, 1, (cluster) => cluster < 161));
  const [wilsonLow, wilsonHigh] = wilsonInterval(161, 191);
  expect([wilsonLow, wilsonHigh].map((v) => Math.round(v * 1000))).toEqual([785, 888]);
  expect(low).toBeCloseTo(wilsonLow, 1);
  expect(high).toBeCloseTo(wilsonHigh, 1);
});

test('four rows that always agree are worth one: the interval is twice as wide as for four that do not hang together', () => {
  const dependent = clusterBootstrap(rows(200, 4, (cluster) => cluster < 160));
  const [low, high] = clusterBootstrap(
    rows(800, 1, (cluster) => cluster < 640).map((row) => ({ ...row, cluster: row.cluster })),
  );
  expect((dependent[1] - dependent[0]) / (high - low)).toBeCloseTo(2, 0);
});

test('the same seed gives the same interval, and no data none', () => {
  const data = rows(10, 2, (cluster, row) => (cluster + row) % 3 === 0);
  expect(clusterBootstrap(data, { seed: 3 })).toEqual(clusterBootstrap(data, { seed: 3 }));
  expect(clusterBootstrap(rows(5, 1, () => true))).toEqual([1, 1]);
  expect(() => clusterBootstrap([])).toThrow(RangeError);
});
