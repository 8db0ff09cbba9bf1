import { expect, test } from 'vitest';
import type { Manifest } from '../../store/predictions.ts';
import { noCost } from '../../store/predictions.ts';
import type { Share, StrategySummary } from '../scoring.ts';
import { averaged, paretoSvg, throughputTable } from './pareto.ts';
import { RENDERERS } from './render.ts';
import { type Evaluated, paperTable, TABLES } from './tables.ts';

const share = (accuracy: number, count = 100): Share => ({
  correct: Math.round(accuracy * count),
  count,
  accuracy,
  interval: [accuracy - 0.05, accuracy + 0.05],
  method: 'wilson',
});

function summary(
  strategy: string,
  overall: number | null,
  categories: Record<string, number> = {},
): StrategySummary {
  return {
    strategy,
    count: 100,
    missing: overall === null ? 7 : 0,
    overall: overall === null ? null : share(overall),
    bounds: [0, 1],
    byCategory: Object.entries(categories).map(([category, accuracy]) => ({
      category,
      ...share(accuracy, 50),
    })),
    categoryMean: null,
    unread: 0,
    stops: {},
    dynamics: null,
    cost: noCost(),
    notes: {},
    positionBias: null,
    permutations: null,
    repeats: null,
  };
}

function evaluated(
  benchmark: string,
  summaries: StrategySummary[],
  labels = { perceiver: 'mine', reasoner: 'mine' },
): Evaluated {
  const manifest: Manifest = {
    benchmark,
    title: benchmark.toUpperCase(),
    licence: 'none',
    count: 100,
    fingerprint: 'f',
    published: null,
    strategies: summaries.map(({ strategy }) => strategy),
    repeats: 1,
    models: labels,
    labels,
    settings: {},
  };
  return { manifest, summaries };
}

const attributes = { direct_attributes: 0.8, relative_position: 0.7 };
const ours = (id: string, evaluations: Evaluated[]) =>
  paperTable(id, evaluations).rows.filter(({ source }) => source === 'ours');
const values = (row: { cells: unknown[] } | undefined) =>
  row?.cells.map((cell) => (cell as { value?: number } | null)?.value?.toFixed(1) ?? cell);

test('Table 1 joins the benchmarks of one model and strategy, and averages only when all three are there', () => {
  const [vStar, hr4, hr8] = [
    evaluated('v-star', [summary('p2r', 0.76, attributes)]),
    evaluated('hr-bench-4k', [summary('p2r', 0.7, { FSP: 0.9, FCP: 0.5 })]),
    evaluated('hr-bench-8k', [summary('p2r', 0.64, { FSP: 0.8, FCP: 0.48 })]),
  ];
  const [row, ...others] = ours('table-1', [vStar, hr4, hr8]);
  expect(others).toEqual([]);
  expect(values(row)).toEqual([
    '80.0',
    '70.0',
    '76.0',
    '90.0',
    '50.0',
    '70.0',
    '80.0',
    '48.0',
    '64.0',
    '70.0',
  ]);
  expect(values(ours('table-1', [vStar, hr4])[0])?.slice(6)).toEqual([null, null, null, null]);
});

test('published rows stand beside ours and have as many cells as there are columns', () => {
  for (const id of TABLES.filter((name) => !['figure-11', 'all'].includes(name))) {
    const { rows, columns } = paperTable(id, []);
    expect(rows.length).toBeGreaterThan(0);
    for (const { source, cells } of rows)
      expect([source, cells.length]).toEqual(['published', columns.length]);
  }
});

test('Table 2 reads task and subtask, Table 4 grounding, Table 5 and Figure 12 their strategies', () => {
  const mme = evaluated('mme-realworld-lite', [
    summary('direct', 0.5, { 'Perception/Remote Sensing': 0.4, 'Reasoning/Autonomous_Driving': 0.3 }),
  ]);
  expect(values(ours('table-2', [mme])[0])).toEqual([
    '50.0',
    null,
    '40.0',
    null,
    null,
    null,
    null,
    null,
    null,
    '30.0',
  ]);
  const grounded = ['test', 'val'].map((split) =>
    evaluated(`reason-seg-${split}`, [summary('grounding', 0.6), summary('p2r', 0.1)]),
  );
  expect(ours('table-4', grounded).map(values)).toEqual([['60.0', '60.0', '60.0']]);
  const vStar = evaluated(
    'v-star',
    ['cot', 'oracle', 'none', 'random', 'self', 'p2r'].map((name) => summary(name, 0.5, attributes)),
  );
  expect(ours('table-5', [vStar]).map(({ label }) => label)).toEqual(['mine, cot', 'mine, oracle']);
  expect(ours('figure-12', [vStar])).toHaveLength(4);
});

test('Table 3 has a row for every pair of checkpoints', () => {
  const pairs = [
    ['base', 'base'],
    ['P-only', 'base'],
    ['P-only', 'R-only'],
  ];
  const rows = ours(
    'table-3',
    pairs.map(([perceiver = '', reasoner = '']) =>
      evaluated('v-star', [summary('p2r', 0.9)], { perceiver, reasoner }),
    ),
  );
  expect(rows.map(({ label }) => label)).toEqual(['base + base', 'P-only + base', 'P-only + R-only']);
});

test('an incomplete evaluation has no number in any format, and published ones are marked in each', () => {
  const table = paperTable('table-5', [evaluated('v-star', [summary('oracle', null)])]);
  expect(RENDERERS.markdown(table)).toMatch(
    /^\| Qwen3-VL-4B, Oracle Hint \| 87\.8† \| 94\.7† \| 90\.6† \|$/m,
  );
  expect(RENDERERS.markdown(table)).toContain('| mine, oracle | incomplete (7 missing) |');
  expect(RENDERERS.csv(table)).toContain('table-5,"mine, oracle",ours,V-Star Overall,,,,,7\n');
  expect(RENDERERS.csv(table)).toContain(
    'table-5,"Qwen3-VL-4B, Oracle Hint",published,V-Star Overall,90.6,,,,0\n',
  );
  expect(RENDERERS.latex(table)).toContain('90.6$^\\dagger$');
  expect(JSON.parse(RENDERERS.json(table))).toEqual(table);
});

test('names that a renderer could take for its own syntax stay text', () => {
  const nasty = { perceiver: '=1+1|_x_ & 50%', reasoner: '=1+1|_x_ & 50%' };
  const table = paperTable('table-4', [evaluated('reason-seg-val', [summary('grounding', 0.6)], nasty)]);
  expect(RENDERERS.csv(table)).toContain(",'=1+1|_x_ & 50%,ours,");
  expect(RENDERERS.latex(table)).toContain('=1+1|\\_x\\_ \\& 50\\%');
  expect(RENDERERS.markdown(table)).toContain('=1+1\\|\\_x\\_ & 50%');
});

test('Figure 11: benchmarks of one label become one point, and the picture names every point', () => {
  const point = {
    label: 'm, P2R <b>',
    interval: [0.6, 0.8] as [number, number],
    callsPerQuestion: 2,
    tokensPerQuestion: 900,
  };
  const points = averaged([
    { ...point, accuracy: 0.7, throughput: 2, questions: 100 },
    { ...point, accuracy: 0.9, interval: [0.8, 1], throughput: 1, questions: 300 },
  ]);
  expect(points).toHaveLength(1);
  expect(points[0]?.accuracy).toBeCloseTo(0.8);
  expect(points[0]?.interval[0]).toBeCloseTo(0.8 - Math.SQRT2 * 0.05);
  // 400 questions in 50 + 300 seconds.
  expect(points[0]?.throughput).toBeCloseTo(400 / 350);
  expect(RENDERERS.csv(throughputTable(points))).toContain('Questions a second,1.142');
  const svg = paretoSvg(points, 'Accuracy against throughput');
  expect(svg).toContain('m, P2R &#60;b&#62;');
  expect(svg).not.toMatch(/NaN|undefined|Infinity/);
});
