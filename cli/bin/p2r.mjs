#!/usr/bin/env node
// Runs the command line under the pinned Node 24 (an npm dependency), which strips TypeScript's types without a build step.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const project = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..');
const pinned = path.join(project, 'node_modules', '.bin', 'node');
const [major] = process.versions.node.split('.').map(Number);
const node = existsSync(pinned) ? pinned : major >= 24 ? process.execPath : null;
if (node === null) {
  console.error(
    `p2r needs Node 24 on this platform and found ${process.versions.node}: install Node 24 or newer from nodejs.org.`,
  );
  process.exit(2);
}
const child = spawn(node, [path.join(project, 'cli', 'main.ts'), ...process.argv.slice(2)], {
  stdio: 'inherit',
  // glibc keeps freed memory for every thread that asked for some; images are prepared on several.
  env: { MALLOC_ARENA_MAX: '2', ...process.env },
});
for (const signal of ['SIGINT', 'SIGTERM'])
  process.on(signal, () => child.kill(signal === 'SIGINT' ? 0 : signal));
child.on('exit', (code, signal) => process.exit(code ?? (signal === 'SIGINT' ? 130 : 1)));
