import { spawnSync } from 'node:child_process';
import { existsSync, openSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';

const OUTPUT = path.join(import.meta.dirname, 'output.ts');

/** Exit code of a script whose log lies on a full disk. */
function onFullDisk(script: string): number | null {
  const full = openSync('/dev/full', 'w');
  return spawnSync(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', full, full] })
    .status;
}

const SAYING =
  "process.stderr.write('a'); process.stdout.write('b'); await new Promise((r) => setTimeout(r, 50)); process.stderr.write('c'); process.exitCode = 7;";

test.skipIf(!existsSync('/dev/full'))('a service survives a log that cannot be written', () => {
  expect(onFullDisk(SAYING)).not.toBe(7);
  expect(
    onFullDisk(`import { surviveFullDisk } from ${JSON.stringify(OUTPUT)}; surviveFullDisk(); ${SAYING}`),
  ).toBe(7);
});
