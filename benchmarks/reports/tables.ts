/** The paper's tables out of evaluations, with the published rows beside ours. */
import type { Manifest } from '../../store/predictions.ts';
import type { StrategySummary } from '../scoring.ts';
import { type PublishedRow, TABLE_1, TABLE_2, TABLE_3, TABLE_4, TABLE_5 } from './published.ts';

/** What a table needs of one evaluation. */
export type Evaluated = { manifest: Manifest; summaries: readonly StrategySummary[] };

/** A number, in per cent where it is a rate. `interval` and `count` are there for ours alone; `missing` says that there is none yet. */
export type Cell =
  | { value: number; interval?: [number, number]; count?: number }
  | { missing: number }
  | null;

/** One line of a table. */
export type Row = { label: string; source: 'ours' | 'published'; cells: Cell[] };

/** A table as data; renderers are in render.ts. */
export type Table = { id: string; title: string; columns: string[]; rows: Row[] };

/** The parts of a benchmark that a column shows: null for all questions. */
type Column = { name: string; benchmark: string; category: string | null };

const V_STAR: Column[] = [
  { name: 'V-Star Attr', benchmark: 'v-star', category: 'direct_attributes' },
  { name: 'V-Star Spatial', benchmark: 'v-star', category: 'relative_position' },
  { name: 'V-Star Overall', benchmark: 'v-star', category: null },
];

const HR: Column[] = ['4k', '8k'].flatMap((size) =>
  ['FSP', 'FCP', null].map((category) => ({
    name: `HR-${size.toUpperCase()} ${category ?? 'Overall'}`,
    benchmark: `hr-bench-${size}`,
    category,
  })),
);

const SUBTASKS: Record<string, string> = {
  OCR: 'OCR with Complex Context',
  RS: 'Remote Sensing',
  DT: 'Diagram and Table',
  MO: 'Monitoring',
  AD: 'Autonomous_Driving',
};
const MME: Column[] = [
  { name: 'Overall', benchmark: 'mme-realworld-lite', category: null },
  ...[
    ...['OCR', 'RS', 'DT', 'MO', 'AD'].map((short) => ['Perception', short] as const),
    ...['OCR', 'DT', 'MO', 'AD'].map((short) => ['Reasoning', short] as const),
  ].map(([task, short]) => ({
    name: `${task} ${short}`,
    benchmark: 'mme-realworld-lite',
    category: `${task}/${SUBTASKS[short] ?? ''}`,
  })),
];

const OVERALLS: Column[] = [
  { name: 'V-Star', benchmark: 'v-star', category: null },
  { name: 'HR-4K', benchmark: 'hr-bench-4k', category: null },
  { name: 'HR-8K', benchmark: 'hr-bench-8k', category: null },
];

const REASON_SEG: Column[] = [
  { name: 'Acc@0.5 test', benchmark: 'reason-seg-test', category: null },
  { name: 'Acc@0.5 val', benchmark: 'reason-seg-val', category: null },
];

function cellOf(summary: StrategySummary | undefined, category: string | null): Cell {
  if (summary === undefined) return null;
  if (summary.overall === null) return { missing: summary.missing };
  const share =
    category === null ? summary.overall : summary.byCategory.find((part) => part.category === category);
  if (share === undefined) return null;
  return {
    value: 100 * share.accuracy,
    interval: [100 * share.interval[0], 100 * share.interval[1]],
    count: share.count,
  };
}

/** Mean of cells that are all there; null otherwise: an average over fewer benchmarks is another number. */
function average(cells: readonly Cell[]): Cell {
  const values = cells.flatMap((cell) => (cell !== null && 'value' in cell ? [cell.value] : []));
  if (values.length === 0 || values.length < cells.length) return null;
  return { value: values.reduce((sum, value) => sum + value, 0) / values.length };
}

/** One run of a strategy by a pair of models, over however many benchmarks there are. */
type Line = { perceiver: string; reasoner: string; strategy: string; by: Map<string, StrategySummary> };

/** Evaluations of one pair of models by one strategy belong to one line; where a benchmark was run twice, the later one counts. */
function linesOf(evaluations: readonly Evaluated[]): Line[] {
  const lines = new Map<string, Line>();
  for (const { manifest, summaries } of evaluations) {
    const { perceiver, reasoner } = manifest.labels;
    for (const summary of summaries) {
      const content = [manifest.models, manifest.settings, manifest.repeats, summary.strategy];
      const id = JSON.stringify(content);
      const line = lines.get(id) ?? { perceiver, reasoner, strategy: summary.strategy, by: new Map() };
      line.by.set(manifest.benchmark, summary);
      lines.set(id, line);
    }
  }
  return [...lines.values()];
}

function ours(line: Line, columns: readonly Column[], label: string): Row | null {
  const cells = columns.map(({ benchmark, category }) => cellOf(line.by.get(benchmark), category));
  return cells.every((cell) => cell === null) ? null : { label, source: 'ours', cells };
}

function published(rows: readonly PublishedRow[]): Row[] {
  return rows.map(({ label, values }) => ({
    label,
    source: 'published',
    cells: values.map((value) => (value === null ? null : { value })),
  }));
}

type Plan = {
  id: string;
  title: string;
  columns: readonly Column[];
  published: readonly PublishedRow[];
  /** Cells of ours that the last column averages, by index; absent: no such column. */
  average?: number[];
  wants: (line: Line) => boolean;
  label: (line: Line) => string;
};

const single = ({ perceiver, reasoner }: Line) => perceiver === reasoner;
const named = ({ reasoner, strategy }: Line) => `${reasoner}, ${strategy}`;

const PLANS: readonly Plan[] = [
  {
    id: 'table-1',
    title: 'Table 1: V-Star, HR-Bench-4K and HR-Bench-8K',
    columns: [...V_STAR, ...HR],
    average: [2, 5, 8],
    published: TABLE_1,
    wants: single,
    label: named,
  },
  {
    id: 'table-2',
    title: 'Table 2: MME-RealWorld-Lite',
    columns: MME,
    published: TABLE_2,
    wants: single,
    label: named,
  },
  {
    id: 'table-3',
    title: 'Table 3: perceiver and reasoner from different checkpoints',
    columns: OVERALLS,
    average: [0, 1, 2],
    published: TABLE_3,
    wants: ({ strategy }) => strategy === 'p2r',
    label: ({ perceiver, reasoner }) => `${perceiver} + ${reasoner}`,
  },
  {
    id: 'table-4',
    title: 'Table 4: grounding on ReasonSeg',
    columns: REASON_SEG,
    average: [0, 1],
    published: TABLE_4,
    wants: ({ strategy }) => strategy === 'grounding',
    label: ({ perceiver }) => perceiver,
  },
  {
    id: 'table-5',
    title: 'Table 5: ground-truth boxes as a hint, V-Star',
    columns: V_STAR,
    published: TABLE_5,
    wants: ({ strategy }) => strategy === 'cot' || strategy === 'oracle',
    label: named,
  },
  {
    id: 'figure-12',
    title: 'Figure 12: where the boxes come from, V-Star (the paper prints no numbers but 93.2 and 93.7)',
    columns: V_STAR,
    published: [
      { label: 'P2R-4B, self-generated boxes', values: [null, null, 93.2] },
      { label: 'P2R-4B, oracle boxes', values: [null, null, 93.7] },
    ],
    wants: ({ strategy }) => ['none', 'random', 'self', 'oracle'].includes(strategy),
    label: named,
  },
];

/** Names of the tables that can be built; figure-11 is built from the runs (pareto.ts). */
export const TABLES: readonly string[] = [...PLANS.map(({ id }) => id), 'figure-11', 'all'];

/** One of the paper's tables. Rows of ours follow the published ones; a benchmark that was not run leaves its cells empty. */
export function paperTable(id: string, evaluations: readonly Evaluated[]): Table {
  if (id === 'all') return overview(evaluations);
  const plan = PLANS.find((candidate) => candidate.id === id);
  if (plan === undefined) throw new RangeError(`There is no table "${id}"; there are: ${TABLES.join(', ')}.`);
  const { columns, average: averaged } = plan;
  const lines = linesOf(evaluations).filter(plan.wants);
  const own = lines.flatMap((line) => {
    const row = ours(line, columns, plan.label(line));
    if (row === null) return [];
    if (averaged !== undefined) row.cells.push(average(averaged.map((index) => row.cells[index] ?? null)));
    return [row];
  });
  return {
    id,
    title: plan.title,
    columns: [...columns.map(({ name }) => name), ...(averaged === undefined ? [] : ['Avg.'])],
    rows: [...published(plan.published), ...own],
  };
}

/** Every evaluation there is: one row a model pair and strategy, one column a benchmark. */
function overview(evaluations: readonly Evaluated[]): Table {
  const benchmarks = new Map(evaluations.map(({ manifest }) => [manifest.benchmark, manifest.title]));
  const columns = [...benchmarks].map(([benchmark, name]) => ({ name, benchmark, category: null }));
  return {
    id: 'all',
    title: 'All evaluations',
    columns: columns.map(({ name }) => name),
    rows: linesOf(evaluations).flatMap(
      (line) => ours(line, columns, single(line) ? named(line) : `${line.perceiver} + ${named(line)}`) ?? [],
    ),
  };
}
