import { appendFileSync, existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import os from 'node:os';
import path from 'node:path';
import sharp from 'sharp';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Benchmark, Item } from '../benchmarks/item.ts';
import { IMAGE_RULES } from '../method/images.ts';
import { oracle } from '../method/strategies/oracle.ts';
import { p2r, selfBoxes } from '../method/strategies/p2r.ts';
import { openStore, type Store } from '../store/layout.ts';
import { predictionFiles, readEvaluation } from '../store/predictions.ts';
import { scoreEvaluation } from './results.ts';
import { EndpointDown, type EvaluationPlan, EvaluationRun, type RunOptions } from './run.ts';

type Asked = { text: string; images: string[]; tokens: number };
type Handler = (asked: Asked, response: ServerResponse) => void;

const PNG = await sharp({ create: { width: 320, height: 320, channels: 3, background: '#336699' } })
  .png()
  .toBuffer();

const RULES = { extractor: 'p2r@1', imageRules: IMAGE_RULES.paper, grounding: 'union' } as const;

let store: Store;
let asked: Asked[];
let handle: Handler;
let url: string;
const server = createServer((request, response) => {
  void answer(request, response);
});

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  const body = JSON.parse(Buffer.concat(chunks).toString('utf8'));
  const parts: { type: string; text?: string; image_url?: { url: string } }[] = body.messages[1].content;
  const one = {
    text: parts.find(({ type }) => type === 'text')?.text ?? '',
    images: parts.flatMap((part) => part.image_url?.url ?? []),
    tokens: body.max_tokens,
  };
  asked.push(one);
  handle(one, response);
}

function reply(response: ServerResponse, content: string, finish = 'stop'): void {
  response.writeHead(200, { 'content-type': 'application/json' });
  response.end(
    JSON.stringify({
      choices: [{ message: { role: 'assistant', content }, finish_reason: finish }],
      usage: { prompt_tokens: 10, completion_tokens: 2 },
    }),
  );
}

const rightAnswers: Handler = ({ text }, response) =>
  reply(
    response,
    text.includes('bbox_2d') ? '[{"bbox_2d": [100, 100, 500, 500], "label": "x"}]' : '<answer>B</answer>',
  );

beforeEach(async () => {
  store = openStore(mkdtempSync(path.join(os.tmpdir(), 'p2r-run-')));
  asked = [];
  handle = rightAnswers;
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  url = `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}/v1`;
});
afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

function questions(count: number, image: (index: number) => string = String): Item[] {
  return Array.from({ length: count }, (_, index) => ({
    id: `q${index}`,
    image: { key: image(index), read: async () => PNG },
    question: `What is thing ${index}?\nA. red\nB. green`,
    stem: `What is thing ${index}?`,
    options: ['red', 'green'],
    form: 'choice' as const,
    answer: index % 4 === 3 ? 'A' : 'B',
    truth: [{ x1: 32, y1: 32, x2: 150, y2: 160, label: '' }],
    category: [index % 2 === 0 ? 'even' : 'odd'],
    cluster: image(index),
  }));
}

function benchmark(items: Item[]): Benchmark {
  return {
    name: 'things',
    title: 'Things',
    licence: 'none',
    published: null,
    files: [],
    async *items() {
      yield* items;
    },
  };
}

function plan(over: Partial<EvaluationPlan> = {}): EvaluationPlan {
  return {
    key: 'eval-test',
    benchmark: benchmark(questions(8)),
    strategies: [p2r],
    settings: {
      promptSet: 'authors-evaluation',
      imageRules: IMAGE_RULES.paper,
      perceiverMaxTokens: 256,
      reasonerMaxTokens: 1024,
      temperature: 0,
    },
    repeats: 1,
    models: { perceiver: 'm', reasoner: 'm' },
    labels: { perceiver: 'm', reasoner: 'm' },
    rules: RULES,
    ...over,
  };
}

const run = (over: Partial<EvaluationPlan> = {}, options: Partial<RunOptions> = {}) =>
  new EvaluationRun(plan(over), {
    store,
    at: (_, request) => request({ url, model: 'm', token: 't' }),
    concurrency: 4,
    timeout: 5000,
    retries: 5,
    retryDelay: 1,
    slowestRetry: 5,
    patience: 1000,
    ...options,
  }).run();

const scored = () => scoreEvaluation(store, 'eval-test', RULES);

test('two stages, the file unchanged in the first, annotated image and crop in the second, and the scores', async () => {
  await run();
  expect(asked).toHaveLength(16);
  const [first] = asked;
  expect(first?.images).toEqual([`data:image/png;base64,${PNG.toString('base64')}`]);
  expect(first?.tokens).toBe(256);
  const second = asked.find(({ text }) => text.includes('highlighted and cropped'));
  expect(second?.images).toHaveLength(2);
  expect(second?.tokens).toBe(1024);
  const [summary] = (await scored()).summaries;
  expect(summary).toMatchObject({
    strategy: 'p2r',
    count: 8,
    missing: 0,
    overall: { correct: 6, accuracy: 0.75, method: 'wilson' },
    cost: { calls: 16, prompt_tokens: 160, images: 24 },
  });
  expect(summary?.byCategory.map(({ category, accuracy }) => [category, accuracy])).toEqual([
    ['even', 1],
    ['odd', 0.5],
  ]);
});

test('a second run asks nothing; a wider one asks only what is new; torn lines are asked again', async () => {
  await run();
  await run();
  expect(asked).toHaveLength(16);
  const files = predictionFiles(store, 'eval-test');
  await run({ benchmark: benchmark(questions(9)), strategies: [p2r, oracle] });
  // One new question in two stages, and nine answers with the true boxes.
  expect(asked.length - 16).toBe(2 + 9);
  const lines = readFileSync(files.predictions, 'utf8').split('\n').filter(Boolean);
  writeFileSync(files.predictions, `${lines.slice(0, -1).join('\n')}\n${lines.at(-1)?.slice(0, 40)}`);
  const before = asked.length;
  const again = await run({ benchmark: benchmark(questions(9)), strategies: [p2r, oracle] });
  // The prediction was torn, the replies it rests on were not.
  expect(asked.length).toBe(before);
  expect(again.progress).toMatchObject({ reused: 17, done: 1 });
  expect(again.progress.replayed).toBeGreaterThan(0);
});

test('killed between the stages, only what was in flight is asked again', async () => {
  const abort = new AbortController();
  handle = (one, response) => {
    if (one.text.includes('highlighted')) {
      if (asked.filter(({ text }) => text.includes('highlighted')).length === 3)
        abort.abort(new Error('killed'));
      if (abort.signal.aborted) return;
    }
    rightAnswers(one, response);
  };
  await expect(run({}, { signal: abort.signal })).rejects.toThrow('killed');
  const kept = readFileSync(predictionFiles(store, 'eval-test').calls, 'utf8').split('\n').length - 1;
  handle = rightAnswers;
  const before = asked.length;
  await run();
  expect(asked.length - before).toBe(16 - kept);
  expect((await scored()).summaries[0]?.overall?.accuracy).toBe(0.75);
});

test('failures, silence and garbage are tried again and change no number', async () => {
  let count = 0;
  handle = (one, response) => {
    switch (count++ % 5) {
      case 1:
        return void response.writeHead(500).end('{}');
      case 2:
        return void response.writeHead(200).end('<html>');
      case 3:
        return count < 10 ? undefined : rightAnswers(one, response);
      default:
        return rightAnswers(one, response);
    }
  };
  const result = await run({}, { timeout: 200, retries: 20 });
  expect(result.missing).toEqual([]);
  expect(result.progress.failedRequests).toBeGreaterThan(3);
  expect((await scored()).summaries[0]?.overall).toMatchObject({ correct: 6, count: 8 });
});

test('what cannot be answered is missing: no accuracy, and bounds instead', async () => {
  handle = (one, response) =>
    one.text.includes('thing 2?')
      ? void response.writeHead(422).end('{"error":{"message":"bad image"}}')
      : rightAnswers(one, response);
  const result = await run();
  expect(result.missing).toMatchObject([{ item: 'q2', strategy: 'p2r' }]);
  const [summary] = (await scored()).summaries;
  expect(summary).toMatchObject({ missing: 1, count: 8, overall: null, bounds: [5 / 8, 6 / 8] });
});

test('an endpoint that never answers ends the run by name', async () => {
  handle = (_, response) => void response.writeHead(500).end('{}');
  await expect(run({}, { patience: 10 })).rejects.toThrow(EndpointDown);
  expect(existsSync(predictionFiles(store, 'eval-test').predictions)).toBe(false);
});

test('a wrong key or model ends the run at once', async () => {
  handle = (_, response) => void response.writeHead(404).end('{"error":{"message":"no such model"}}');
  await expect(run()).rejects.toMatchObject({ kind: 'misconfigured' });
  expect(asked.length).toBeLessThanOrEqual(4);
});

test('strategies that ask the same share the reply; each is charged for it', async () => {
  await run({ strategies: [p2r, selfBoxes] });
  expect(asked).toHaveLength(16);
  expect((await scored()).summaries.map(({ strategy, cost }) => [strategy, cost.calls])).toEqual([
    ['p2r', 16],
    ['self', 16],
  ]);
});

test('an image that cannot be read is missing and named; the rest is answered', async () => {
  const items = questions(3);
  const [first] = items;
  if (first !== undefined) first.image = { key: 'broken', read: async () => PNG.subarray(0, 40) };
  const result = await run({ benchmark: benchmark(items) });
  expect(result.missing).toMatchObject([{ item: 'q0' }]);
  expect((await readEvaluation(store, 'eval-test')).predictions.size).toBe(2);
});

test('a torn items file is refused by name', async () => {
  await run();
  const files = predictionFiles(store, 'eval-test');
  const lines = readFileSync(files.items, 'utf8').trimEnd().split('\n');
  writeFileSync(files.items, `${lines.slice(1).join('\n')}\n`);
  appendFileSync(files.items, '{"id":');
  await expect(scored()).rejects.toThrow(/items\.jsonl.*7 questions and the manifest says 8/);
});
