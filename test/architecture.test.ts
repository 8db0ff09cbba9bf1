/** The arrows between folders: who may import whom. */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';

const ROOT = path.resolve(import.meta.dirname, '..');

/** Folder -> folders it may import; a name in `types` may be imported by `import type` only. */
const ALLOWED: Record<string, { values: string[]; types: string[] }> = {
  method: { values: [], types: [] },
  store: { values: [], types: [] },
  studies: { values: ['method', 'store'], types: ['workflows'] },
  workflows: { values: ['method', 'studies'], types: ['activities'] },
  benchmarks: { values: ['method', 'store'], types: [] },
  evaluation: { values: ['benchmarks', 'method', 'store'], types: [] },
  activities: { values: ['benchmarks', 'evaluation', 'method', 'store', 'studies'], types: ['workflows'] },
  dashboards: { values: ['benchmarks', 'method', 'store'], types: ['workflows'] },
  cli: {
    values: [
      'activities',
      'benchmarks',
      'dashboards',
      'evaluation',
      'method',
      'store',
      'studies',
      'temporal.config.ts',
      'workflows',
    ],
    types: [],
  },
};

type Arrow = { file: string; to: string; typeOnly: boolean };

function arrows(folder: string): Arrow[] {
  return readdirSync(path.join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter(
      (name) =>
        name.endsWith('.ts') &&
        !name.endsWith('.test.ts') &&
        !name.includes('node_modules') &&
        !name.includes('dist/'),
    )
    .flatMap((name) => {
      const file = path.join(ROOT, folder, name);
      const found = readFileSync(file, 'utf8').matchAll(
        /(?:import|export)\s+(type\s)?[^;'"]*?from\s+'(\.[^']+)'/g,
      );
      return [...found].map((match) => ({
        file: path.join(folder, name),
        to: path.relative(ROOT, path.resolve(path.dirname(file), match[2] ?? '')).split(path.sep)[0] ?? '',
        typeOnly: match[1] !== undefined,
      }));
    });
}

test.each(Object.entries(ALLOWED))('%s imports only what it may', (folder, { values, types }) => {
  const all = arrows(folder);
  expect(all.length).toBeGreaterThan(0);
  const forbidden = all.filter(
    ({ to, typeOnly }) => to !== folder && !values.includes(to) && !(typeOnly && types.includes(to)),
  );
  expect(forbidden).toEqual([]);
});
