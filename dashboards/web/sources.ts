/** Which build belongs to today's sources of the page. */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';

const WEB = import.meta.dirname;

/** Where the page is built to: a folder named after its sources, so that an older build is never served for newer ones. */
export function pageFolder(): string {
  const hash = createHash('sha256');
  const sources = readdirSync(WEB, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !entry.name.endsWith('.test.ts'))
    .map((entry) => path.join(entry.parentPath, entry.name))
    .filter((file) => !path.relative(WEB, file).startsWith(`dist${path.sep}`))
    .sort();
  const plotly = createRequire(import.meta.url).resolve('plotly.js-basic-dist-min/package.json');
  for (const file of [...sources, plotly]) {
    hash.update(`${path.basename(file)}\0`);
    hash.update(readFileSync(file));
  }
  return path.join(WEB, 'dist', hash.digest('hex').slice(0, 16));
}
