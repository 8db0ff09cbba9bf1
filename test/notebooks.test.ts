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

test('there is a notebook for each group of figures', () => expect(names).toHaveLength(7));

test.each(names)(
  '%s',
  async (name) => {
    const output = path.join(folder, name);
    await run(python, [path.join(NOTEBOOKS, 'run.py'), path.join(NOTEBOOKS, name), output], { env });
    const { cells } = Notebook.parse(JSON.parse(await readFile(output, 'utf8')));
    const promised = cells.filter(({ metadata }) => metadata.tags?.some((tag) => tag !== 'parameters'));
    expect(promised.length).toBeGreaterThan(0);
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
