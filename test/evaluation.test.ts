/** `p2r eval` as a process, killed with -9 while it asks: what is asked again is at most what was in flight. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import os from 'node:os';
import path from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';

const ROOT = path.resolve(import.meta.dirname, '..');
const [QUESTIONS, SLOTS] = [40, 4];
const home = mkdtempSync(path.join(os.tmpdir(), 'p2r-eval-home-'));
const scenes = mkdtempSync(path.join(os.tmpdir(), 'p2r-eval-scenes-'));

/** Requests answered, and the bodies of all that came in. */
let answered = 0;
const asked: string[] = [];
let onRequest: () => void = () => undefined;

const server = createServer(async (request, response) => {
  if (request.url === '/v1/models') return void response.end(JSON.stringify({ data: [{ id: 'stand-in' }] }));
  const chunks: Buffer[] = [];
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  const body = Buffer.concat(chunks).toString('utf8');
  asked.push(body);
  onRequest();
  // One turn of the event loop, so that several requests are in flight when the process dies.
  await new Promise((resolve) => setTimeout(resolve, 5));
  const content = body.includes('bbox_2d')
    ? '[{"bbox_2d": [1, 1, 900, 900], "label": "x"}]'
    : '<answer>B</answer>';
  response.writeHead(200, { 'content-type': 'application/json' });
  response.end(
    JSON.stringify({ choices: [{ message: { content }, finish_reason: 'stop' }] }),
    () => answered++,
  );
});

beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  await sharp({ create: { width: 320, height: 320, channels: 3, background: '#336699' } })
    .png()
    .toFile(path.join(scenes, 'scene.png'));
  const rows = Array.from({ length: QUESTIONS }, (_, index) => ({
    sample_id: `q${index}`,
    image: 'scene.png',
    width: 320,
    height: 320,
    question: `What is thing ${index}?\n(A) red\n(B) blue`,
    options: ['red', 'blue'],
    answer: index % 4 === 0 ? 'A' : 'B',
    kind: 'letter',
    boxes: [[0, 0, 30, 30]],
    labels: ['x'],
    split: 'held-out',
  }));
  writeFileSync(path.join(scenes, 'rows.jsonl'), rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

function evaluate(): { child: ChildProcess; output: Promise<string> } {
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const child = spawn(
    process.execPath,
    [
      path.join(ROOT, 'cli/main.ts'),
      ...['eval', '--benchmark', `needle:${scenes}`, '--strategies', 'p2r', '--json'],
      ...['--base-url', `http://127.0.0.1:${port}/v1`, '--model', 'stand-in', '--concurrency', String(SLOTS)],
      ...['--prompt-set', 'authors-evaluation'],
    ],
    { env: { ...process.env, P2R_HOME: home }, stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const chunks: Buffer[] = [];
  child.stdout?.on('data', (chunk: Buffer) => chunks.push(chunk));
  return { child, output: once(child, 'close').then(() => Buffer.concat(chunks).toString('utf8')) };
}

test('killed with -9 twice, it asks at most what was in flight again, and the numbers are those of an undisturbed run', async () => {
  for (const last of [25, 55]) {
    const { child, output } = evaluate();
    onRequest = () => {
      if (asked.length >= last) child.kill('SIGKILL');
    };
    await output;
    expect(child.signalCode).toBe('SIGKILL');
  }
  onRequest = () => undefined;
  const { child, output } = evaluate();
  const { summaries } = z
    .object({ summaries: z.array(z.looseObject({ missing: z.number(), overall: z.unknown() })) })
    .parse(JSON.parse(await output));
  expect(child.exitCode).toBe(0);
  expect(summaries[0]).toMatchObject({
    missing: 0,
    count: QUESTIONS,
    overall: { correct: 30, accuracy: 0.75 },
  });
  // Two stages a question; each death costs at most the requests that had a slot.
  expect(new Set(asked).size).toBe(2 * QUESTIONS);
  expect(asked.length).toBeGreaterThan(2 * QUESTIONS);
  expect(asked.length).toBeLessThanOrEqual(2 * QUESTIONS + 2 * SLOTS);
  expect(answered).toBeGreaterThanOrEqual(2 * QUESTIONS);

  const before = asked.length;
  expect(JSON.parse(await evaluate().output)).toMatchObject({ progress: { reused: QUESTIONS, requests: 0 } });
  expect(asked).toHaveLength(before);
}, 180_000);
