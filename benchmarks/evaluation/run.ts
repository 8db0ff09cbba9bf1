/**
 * How well the evaluation runner keeps an endpoint busy, and what faults do to its numbers.
 *
 *   npm run bench:evaluation [-- --questions 5000 --slots 32 --latency 1000]
 *
 * Runs `p2r eval` itself, with P2R on two-megapixel images, against the stand-in; exits 1 when a target is missed.
 */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { copyFile, link, mkdtemp, rm } from 'node:fs/promises';
import os, { availableParallelism, cpus, loadavg } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { writeScene } from '../method/scenes.ts';
import { evaluate } from './harness.ts';

const { values } = parseArgs({
  options: {
    questions: { type: 'string', default: '5000' },
    'fault-questions': { type: 'string', default: '600' },
    slots: { type: 'string', default: '32' },
    latency: { type: 'string', default: '1000' },
  },
});
const SIZE = { width: 1600, height: 1280 };
const slots = Number(values.slots);
const latency = Number(values.latency);

let kept = true;
const target = (text: string, met: boolean) => {
  kept &&= met;
  console.log(`  ${met ? 'met' : 'MISSED'}: ${text}`);
};

/** Questions with an image each: a few pictures under many names. */
async function writeQuestions(directory: string, count: number): Promise<void> {
  mkdirSync(path.join(directory, 'images'), { recursive: true });
  const pictures = Math.min(8, count);
  const names = Array.from({ length: pictures }, (_, i) => path.join(directory, `picture-${i}.jpg`));
  for (const [seed, name] of names.entries())
    if (!existsSync(name)) await writeScene(name, SIZE.width, SIZE.height, seed);
  const rows: string[] = [];
  for (let i = 0; i < count; i++) {
    const image = `images/${i}.jpg`;
    const source = names[i % pictures] ?? '';
    const file = path.join(directory, image);
    await link(source, file).catch(() => copyFile(source, file));
    const options = ['red', 'green', 'blue', 'black'];
    const question = `What colour is the thing of question ${i}?\n${options.map((o, n) => `(${'ABCD'[n]}) ${o}`).join('\n')}`;
    rows.push(
      JSON.stringify({
        sample_id: `q${i}`,
        image,
        ...SIZE,
        question,
        options,
        answer: 'ABCD'[(i * 11) % 4],
        kind: i % 2 === 0 ? 'even' : 'odd',
        boxes: [[100, 100, 300, 260]],
        labels: ['thing'],
        split: 'held-out',
      }),
    );
  }
  writeFileSync(path.join(directory, 'rows.jsonl'), `${rows.join('\n')}\n`);
}

/** The summary without what depends on the clock. */
function numbers(summaries: unknown[]): string {
  return JSON.stringify(summaries, (name, value) => (name === 'model_seconds' ? undefined : value));
}

const folder = await mkdtemp(path.join(os.tmpdir(), 'p2r-bench-questions-'));
try {
  const questions = Number(values.questions);
  console.log(
    `Node ${process.version}, ${availableParallelism()} x ${cpus()[0]?.model ?? 'unknown processor'}, load ${loadavg()[0]?.toFixed(1)} before the run`,
  );
  console.log(
    `\n${questions} two-stage questions on ${SIZE.width} x ${SIZE.height} JPEGs, ${slots} slots, ${values.latency} ms a request`,
  );
  await writeQuestions(folder, questions);
  const run = await evaluate(`needle:${folder}`, { slots, latency, faults: 0 }, 300);
  const span = run.stats.last_reply - run.stats.first_request;
  const busy = run.stats.slot_milliseconds / (slots * span);
  console.log(
    `  ${(span / 1000).toFixed(0)} s, ${(run.stats.replies / (span / 1000)).toFixed(1)} requests/s, ${(run.stats.bytes / 1e6 / (span / 1000)).toFixed(0)} MB/s`,
  );
  target(`slots ${(100 * busy).toFixed(1)} % busy, at least 95 %`, busy >= 0.95);
  target(
    `first request after ${(run.firstRequest / 1000).toFixed(2)} s, within 2 s`,
    run.firstRequest <= 2000,
  );
  target(`peak memory ${run.peak.toFixed(0)} MiB, under 500 MiB`, run.peak > 0 && run.peak < 500);
  target(
    `${run.stats.requests} requests, ${2 * questions} needed; exit code ${run.code}`,
    run.stats.requests === 2 * questions && run.code === 0,
  );

  const fewer = Number(values['fault-questions']);
  console.log(`\n${fewer} of them with 10 % of the requests failing, hanging or answering with garbage`);
  await rm(folder, { recursive: true, force: true });
  await writeQuestions(folder, fewer);
  const clean = await evaluate(`needle:${folder}`, { slots, latency, faults: 0 }, 10);
  const faulty = await evaluate(`needle:${folder}`, { slots, latency, faults: 0.1 }, 10);
  console.log(`  ${faulty.stats.faults} faults in ${faulty.stats.requests} requests`);
  target(
    'no final number differs, nothing is missing, exit code 0',
    faulty.stats.faults > 0 &&
      faulty.code === 0 &&
      faulty.summary.missing.length === 0 &&
      numbers(clean.summary.summaries) === numbers(faulty.summary.summaries),
  );
  process.exitCode = kept ? 0 : 1;
} finally {
  await rm(folder, { recursive: true, force: true });
}
