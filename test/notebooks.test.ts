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
        .array(z.looseObject({ output_type: z.string(), data: z.record(z.string(), z.unknown()).optional() }))
        .optional(),
    }),
  ),
});

const names = (await readdir(NOTEBOOKS)).filter((name) => name.endsWith('.ipynb')).sort();

/** What is known of the stored runs and must be in a notebook's tables. */
const KNOWN: Record<string, RegExp[]> = {
  '01': [/tiny-two-iterations-seed1: completed/, /experiment-completed/],
  '02': [/<td>base<\/td><td>57\.6 %/, /<td>iteration-2-reasoner<\/td><td>84\.7 %/],
  '03': [/<td>base<\/td><td>57\.6 %<\/td><td>144/, /<td>P then R<\/td><td>80\.6 %<\/td><td>432/],
  '04': [/<td>every true box hit<\/td><td>50<\/td><td>98\.0 %/],
  '05': [/<td>PRA-GRPO<\/td><td>3<\/td><td>12\.27/],
  '06': [/<td>iteration-1\/perceiver<\/td><td>0\.98<\/td><td>0\.99<\/td><td>110\.33/],
  // What comes before the changed phase keeps its key.
  '07': [/<td>iteration-1\/reasoner<\/td><td>[^<]*<\/td><td>the same/, /its settings change: .*lr/],
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
    for (const known of KNOWN[name.slice(0, 2)] ?? [/a notebook without known results/])
      expect(html.join('\n'), name).toMatch(known);
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
