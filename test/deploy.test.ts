/** The files of deploy/ say what the code says. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { FAILURE_KINDS } from '../activities/failures.ts';
import { studyNames } from '../studies/index.ts';
import { SEARCH_ATTRIBUTE_FLAGS } from '../temporal.config.ts';

const read = (...parts: string[]) => readFileSync(path.join(import.meta.dirname, '..', ...parts), 'utf8');

test('a namespace of a group has the search attributes of the embedded server', () => {
  const script = read('deploy', 'temporal-namespace.sh');
  const created = [...script.matchAll(/--name (\w+) --type (\w+)/g)].map(
    ([, name, type]) => `${name}=${type}`,
  );
  expect(created).toEqual(SEARCH_ATTRIBUTE_FLAGS);
});

test('every study is in the table of the studies page, and every failure in that of the cluster page', async () => {
  const studies = read('docs', 'studies.md');
  for (const name of await studyNames())
    if (!['tiny-smoke', 'tiny-two-iterations'].includes(name)) expect(studies).toContain(`\`${name}\``);
  const cluster = read('docs', 'cluster.md');
  for (const kind of FAILURE_KINDS) expect(cluster).toContain(`\`${kind}\``);
});

test('the services of a group listen on loopback unless somebody says otherwise', () => {
  const ports = [...read('deploy', 'compose.yaml').matchAll(/^ {6}- (\S*:\d+)$/gm)].map(
    ([, port]) => port ?? '',
  );
  expect(ports.length).toBe(2);
  for (const port of ports) expect(port).toMatch(/^(127\.0\.0\.1|\$\{TEMPORAL_BIND:-127\.0\.0\.1\}):/);
});
