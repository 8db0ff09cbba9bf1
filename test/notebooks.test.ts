/** Every notebook runs from a clean clone on the stored runs, and shows what its cells promise. */
import { execFile } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { NOTEBOOKS, prepareNotebooks } from '../cli/notebook.ts';

const run = promisify(execFile);
const folder = mkdtempSync(path.join(os.tmpdir(), 'p2r-notebooks-'));
const { P2R_HOME: _, ...env } = process.env;
let python = '';

beforeAll(async () => {
  python = await prepareNotebooks(() => undefined);
}, 600_000);
afterAll(() => rm(folder, { recursive: true, force: true }));

const Notebook = z.looseObject({
  cells: z.array(
    z.looseObject({
      cell_type: z.string(),
      metadata: z.looseObject({ tags: z.array(z.string()).optional() }),
      source: z.union([z.string(), z.array(z.string())]),
      outputs: z
        .array(
          z.looseObject({
            output_type: z.string(),
            data: z.record(z.string(), z.unknown()).optional(),
          }),
        )
        .optional(),
    }),
  ),
});

const names = (await readdir(NOTEBOOKS)).filter((name) => name.endsWith('.ipynb')).sort();

/** A stored experiment, read here without the notebooks' own library. */
type Stored = {
  experiment: string;
  study: string;
  phases: { id: string; key: string; name: string; iteration: number }[];
  evaluations: { key: string; checkpoint: string; after: string | null; pair?: boolean }[];
  config: { schedule?: string[]; algorithm?: { name: string } };
};
type Score = {
  accuracy: number;
  correct: number;
  count: number;
  by_kind: Record<string, { accuracy: number }>;
};

const EXAMPLE = path.join(NOTEBOOKS, 'example');
const json = async <T>(...parts: string[]) =>
  JSON.parse(await readFile(path.join(EXAMPLE, ...parts), 'utf8')) as T;
const stored: Stored[] = [];
for (const name of (await readdir(path.join(EXAMPLE, 'runs'))).sort())
  stored.push(await json<Stored>('runs', name, 'experiment.json'));

/** The experiments of the first of these studies that the example holds. */
function ofStudy(...studies: string[]): Stored[] {
  const found = studies.map((study) => stored.filter((one) => one.study === study));
  const first = found.find((runs) => runs.length > 0);
  if (first === undefined) throw new Error(`the example holds none of ${studies.join(', ')}`);
  return first;
}
const scoresOf = async (key: string) =>
  (await json<{ strategies: Record<string, Score> }>('evaluations', key, 'scores.json')).strategies;
const percent = (share: number) => `${(share * 100).toFixed(1)} %`;
/** Neighbouring cells of a table. */
const row = (...cells: (string | number)[]) => cells.join('</td><td>');
const schedule = (run: Stored) =>
  run.phases.filter(({ iteration }) => iteration === 1).map(({ name }) => name);

/** What a notebook's tables must hold, from the stored files; what it must say is missing. */
const EXPECTED: Record<string, () => Promise<{ shown: (string | RegExp)[]; missing: boolean }>> = {
  async '01'() {
    const [run] = ofStudy('tiny-quickstart', 'tiny-two-iterations');
    return { shown: [`${run?.experiment}: completed`, 'experiment-completed'], missing: false };
  },
  async '02'() {
    const [run] = ofStudy('tiny-two-iterations', 'tiny-figure-8-iterations', 'tiny-quickstart');
    const shown = [];
    for (const { key, checkpoint } of run?.evaluations ?? [])
      shown.push(row(checkpoint, percent((await scoresOf(key)).p2r?.accuracy ?? Number.NaN)));
    return { shown, missing: false };
  },
  async '03'() {
    const runs = ofStudy('tiny-figure-5-ablation', 'tiny-two-iterations');
    const cases: Record<string, [string, string[]]> = {
      base: ['base', []],
      'train P': ['iteration-1-perceiver', ['perceiver']],
      'train R': ['iteration-1-reasoner', ['reasoner']],
      'P then R': ['iteration-1-reasoner', ['perceiver', 'reasoner']],
      'R then P': ['iteration-1-perceiver', ['reasoner', 'perceiver']],
    };
    const shown = [];
    let missing = false;
    for (const [name, [checkpoint, trained]] of Object.entries(cases)) {
      const own = runs.filter((run) => trained.every((role, index) => schedule(run)[index] === role));
      const keys = new Set(
        own.flatMap(({ evaluations }) =>
          evaluations.filter((one) => one.checkpoint === checkpoint).map(({ key }) => key),
        ),
      );
      const scores = await Promise.all([...keys].map(async (key) => (await scoresOf(key)).p2r));
      const sum = (part: 'correct' | 'count') => scores.reduce((all, score) => all + (score?.[part] ?? 0), 0);
      if (keys.size === 0) missing = true;
      else shown.push(row(name, percent(sum('correct') / sum('count')), sum('count')));
    }
    const pairs = stored.filter(({ study }) => study === 'tiny-table-3-cross-checkpoints');
    if (pairs.length === 0) missing = true;
    else shown.push(row('<td>P-Only', 'Base'), row('<td>Base', 'R-Only'));
    return { shown, missing };
  },
  async '04'() {
    const [run] = ofStudy('tiny-figure-12-boxes', 'tiny-two-iterations', 'tiny-quickstart');
    const last = run?.evaluations.at(-1);
    const scores = await scoresOf(last?.key ?? '');
    const lines = (
      await readFile(path.join(EXAMPLE, 'evaluations', last?.key ?? '', 'predictions.jsonl'), 'utf8')
    )
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Record<string, unknown> & { verdict?: Record<string, unknown> })
      .filter(({ strategy }) => strategy === 'p2r')
      .map((line) => (line.verdict ?? line) as { correct: boolean; metrics: { hit_rate?: number } });
    const hit = lines.filter(({ metrics }) => (metrics.hit_rate ?? 0) >= 1);
    const right = hit.filter(({ correct }) => correct);
    return {
      shown: [
        row(' p2r', percent(scores.p2r?.accuracy ?? Number.NaN)),
        row('every true box hit', hit.length, percent(right.length / hit.length)),
        ...('oracle' in scores ? ['perception_limited'] : []),
      ],
      missing: !('oracle' in scores),
    };
  },
  async '05'() {
    const runs = ofStudy('tiny-figure-8-iterations', 'tiny-two-iterations');
    const shown = [];
    const conditions = [
      ['PRA-GRPO', 'p2r', runs.filter((run) => !schedule(run).includes('direct'))],
      ['text-only GRPO', 'direct', runs.filter((run) => schedule(run).includes('direct'))],
    ] as const;
    for (const [name, strategy, own] of conditions) {
      if (own.length === 0) continue;
      const points: [number, number][] = [];
      for (const { phases, evaluations } of own)
        for (const { key, after, checkpoint } of evaluations) {
          const iteration = phases.find(({ id }) => id === after)?.iteration ?? 0;
          const isLast =
            phases.findLast((phase) => phase.iteration === iteration)?.id === (after ?? undefined);
          if (!isLast || / for |-step-/.test(checkpoint)) continue;
          points.push([iteration, (await scoresOf(key))[strategy]?.accuracy ?? Number.NaN]);
        }
      // Least squares by the normal equations: (n Σxy - Σx Σy) / (n Σx² - (Σx)²).
      const sum = (of: (x: number, y: number) => number) => points.reduce((all, [x, y]) => all + of(x, y), 0);
      const n = points.length;
      const slope =
        (n * sum((x, y) => x * y) - sum((x) => x) * sum((_, y) => y)) /
        (n * sum((x) => x * x) - sum((x) => x) ** 2);
      shown.push(row(name, own.length, Number((slope * 100).toFixed(2))));
    }
    return { shown, missing: shown.length < conditions.length };
  },
  async '06'() {
    const runs = ofStudy('tiny-e4-dapo', 'tiny-two-iterations');
    const shown = [];
    for (const { experiment, phases } of runs)
      for (const { id, key } of phases) {
        const attempts = path.join(EXAMPLE, 'phases', key, 'attempts');
        const bySteps = new Map<number, number>();
        for (const attempt of (await readdir(attempts)).sort((a, b) => Number(a) - Number(b)))
          for (const line of (await readFile(path.join(attempts, attempt, 'metrics.jsonl'), 'utf8'))
            .trim()
            .split('\n')) {
            const { step, box_count } = JSON.parse(line) as { step: number; box_count: number };
            bySteps.set(step, box_count);
          }
        const counts = [...bySteps.values()];
        const fifth = Math.max(1, Math.floor(counts.length / 5));
        const mean = (values: number[]) =>
          Number((values.reduce((all, value) => all + value, 0) / values.length).toFixed(2));
        shown.push(row(experiment, id, mean(counts.slice(0, fifth)), mean(counts.slice(-fifth))));
      }
    return { shown, missing: !runs.some(({ config }) => config.algorithm?.name === 'dapo') };
  },
  async '07'() {
    const [run] = ofStudy('tiny-two-iterations', 'tiny-quickstart');
    const ids = run?.phases.map(({ id }) => id) ?? [];
    // What comes before the changed phase keeps its key.
    const kept = ids.slice(0, -1).map((id) => new RegExp(`<td>${id}</td><td>[^<]*</td><td>the same`));
    return { shown: [...kept, 'its settings change: lr = 0.00002'], missing: false };
  },
};

test('there is a notebook for each group of figures', () => expect(names).toHaveLength(7));

test.each(names)(
  '%s',
  async (name) => {
    const output = path.join(folder, name);
    await run(python, [path.join(NOTEBOOKS, 'run.py'), path.join(NOTEBOOKS, name), output], { env });
    const { cells } = Notebook.parse(JSON.parse(await readFile(output, 'utf8')));
    const promised = cells.filter(({ metadata }) => metadata.tags?.some((tag) => tag !== 'parameters'));
    expect(promised.length).toBeGreaterThan(0);
    const html = cells.flatMap(({ outputs = [] }) =>
      outputs.flatMap(({ data }) => [data?.['text/html']].flat().join('')),
    );
    const expected = await EXPECTED[name.slice(0, 2)]?.();
    if (expected === undefined) throw new Error(`nothing is known of what ${name} must show`);
    expect(expected.shown.length).toBeGreaterThan(0);
    for (const known of expected.shown) expect(html.join('\n'), name).toMatch(known);
    const said = cells
      .flatMap(({ outputs = [] }) => outputs.flatMap(({ data }) => [data?.['text/plain']].flat().join('')))
      .join('\n');
    expect(/Missing|Nobody asked/.test(said), `${name}: ${said}`).toBe(expected.missing);
    for (const { metadata, source, outputs = [] } of promised) {
      const where = `${name}: ${[source].flat().join('').slice(0, 80)}`;
      expect(
        outputs.map(({ output_type }) => output_type),
        where,
      ).not.toContain('error');
      const shown = outputs.map(({ data = {} }) => data);
      if (metadata.tags?.includes('figure')) {
        const figures = shown.filter((data) => 'application/vnd.plotly.v1+json' in data);
        expect(figures.length, where).toBeGreaterThan(0);
        for (const data of figures) {
          const svg = [data['image/svg+xml']].flat().join('');
          expect(svg, where).toMatch(/^<svg.*<\/svg>$/s);
          expect(svg, where).toMatch(/<circle|<polyline/);
          expect(svg, where).not.toMatch(/NaN|Infinity|undefined/);
        }
      }
      if (metadata.tags?.includes('table')) {
        const tables = shown.flatMap((data) => [data['text/html']].flat().join(''));
        expect(
          tables.some((html) => /<tbody><tr>/.test(html)),
          where,
        ).toBe(true);
        expect(tables.join(''), where).not.toMatch(/NaN|undefined/);
      }
    }
  },
  180_000,
);

test('a broken cell is an error', async () => {
  const broken = path.join(folder, 'broken.ipynb');
  const text = await readFile(path.join(NOTEBOOKS, names[0] ?? ''), 'utf8');
  const notebook = JSON.parse(text) as { cells: { cell_type: string; source: string[] }[] };
  const cell = notebook.cells.find(({ cell_type }) => cell_type === 'code');
  if (cell === undefined) throw new Error('the notebook has no code');
  cell.source = ["throw new Error('broken on purpose');"];
  await writeFile(broken, JSON.stringify(notebook));
  await expect(
    run(python, [path.join(NOTEBOOKS, 'run.py'), broken, path.join(folder, 'out.ipynb')], { env }),
  ).rejects.toThrow(/broken on purpose/);
}, 60_000);
