/**
 * The memory that a TSV of HR-Bench 8K's size takes: 200 images of 7680 x 4320, each in four rows, 4.6 GB.
 *
 *   npm run bench:large-tsv [-- --images 200 --folder DIR]
 *
 * Evaluates it by P2R against the stand-in; exits 1 when 1 GB is exceeded or a question is missing.
 */
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import os, { loadavg } from 'node:os';
import path from 'node:path';
import { finished } from 'node:stream/promises';
import { parseArgs } from 'node:util';
import sharp from 'sharp';
import { evaluate } from './harness.ts';

const { values } = parseArgs({
  options: { images: { type: 'string', default: '200' }, folder: { type: 'string', default: os.tmpdir() } },
});
const count = Number(values.images);
const folder = await mkdtemp(path.join(values.folder, 'p2r-large-tsv-'));
const file = path.join(folder, 'hr_bench_8k.tsv');

/** One noisy picture; others differ from it in bytes after its end, which no decoder reads. */
const noise = { type: 'gaussian', mean: 128, sigma: 16 } as const;
const picture = await sharp({
  create: { width: 7680, height: 4320, channels: 3, background: '#808080', noise },
})
  .jpeg({ quality: 40 })
  .toBuffer();

try {
  const out = createWriteStream(file);
  out.write('index\tquestion\timage\tanswer\tA\tB\tC\tD\tcategory\tcycle_category\n');
  const options = ['red', 'green', 'blue', 'black'];
  for (let cycle = 0; cycle < 4; cycle++) {
    for (let i = 0; i < count; i++) {
      const tail = Buffer.alloc(Math.max(0, 4_310_000 - picture.length), i);
      const image = Buffer.concat([picture, tail]).toString('base64');
      const turned = options.map((_, n) => options[(n + cycle) % 4]);
      const cells = [
        cycle * count + i,
        `What colour is the thing of question ${i}?`,
        image,
        'ABCD'[(4 - cycle) % 4],
      ];
      const line = [...cells, ...turned, i % 2 ? 'cross' : 'single', `c${cycle}`].join('\t');
      if (!out.write(`${line}\n`)) await once(out, 'drain');
    }
  }
  out.end();
  await finished(out);
  const { size } = await stat(file);
  console.log(`${(size / 1e9).toFixed(2)} GB, ${4 * count} rows, load ${loadavg()[0]?.toFixed(1)}`);
  const began = performance.now();
  const run = await evaluate(`hr-bench:${file}`, { slots: 32, latency: 500, faults: 0 }, 600);
  console.log(
    `${((performance.now() - began) / 1000).toFixed(0)} s, first request after ${(run.firstRequest / 1000).toFixed(1)} s, exit code ${run.code}, ${run.summary.missing.length} missing`,
  );
  const met = run.peak > 0 && run.peak * 1.048576 < 1000 && run.code === 0;
  console.log(`  ${met ? 'met' : 'MISSED'}: peak memory ${run.peak.toFixed(0)} MiB, under 1 GB`);
  process.exitCode = met ? 0 : 1;
} finally {
  await rm(folder, { recursive: true, force: true });
}
