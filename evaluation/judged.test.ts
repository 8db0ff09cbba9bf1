import { mkdtempSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { IMAGE_RULES } from '../method/images.ts';
import { writeFileAtomic, writeJson } from '../store/files.ts';
import { openStore } from '../store/layout.ts';
import { predictionFiles } from '../store/predictions.ts';
import { judgeAnswers } from './judged.ts';
import { rulesOf, scoreEvaluation } from './results.ts';

const store = openStore(mkdtempSync(path.join(os.tmpdir(), 'p2r-judged-')));
const files = predictionFiles(store, 'eval-open');
const ANSWERS: [string, string][] = [
  ['a red kite', '<answer>Red kite.</answer>'],
  ['a red kite', '<answer>a kite that is red</answer>'],
  ['a red kite', '<answer>a blue kite</answer>'],
  ['a red kite', '<answer>who knows</answer>'],
];
let asked = 0;
const server = createServer(async (request, response) => {
  const chunks: Buffer[] = [];
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  asked++;
  const { messages } = JSON.parse(Buffer.concat(chunks).toString('utf8'));
  const check = /"check":"([0-9a-f]{8})"/.exec(messages[0].content)?.[1];
  const { candidate } = JSON.parse(messages[1].content);
  // A refusal is no verdict, and is not asked again within the run.
  if (candidate === 'who knows') return void response.writeHead(422).end('{"error":{"message":"no"}}');
  const content = JSON.stringify({ check, same: candidate.includes('red') });
  response.writeHead(200, { 'content-type': 'application/json' });
  response.end(JSON.stringify({ choices: [{ message: { content } }] }));
});

beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const cost = { calls: 1, prompt_tokens: 1, completion_tokens: 1, images: 1, pixels: 1, truncated: 0 };
  const lines = (rows: object[]) => rows.map((row) => `${JSON.stringify(row)}\n`).join('');
  await writeFileAtomic(
    files.items,
    lines(
      ANSWERS.map(([answer], index) => ({
        id: `q${index}`,
        image: 'i',
        question: 'What is it?',
        options: [],
        form: 'text',
        answer,
        truth: null,
        category: [],
        cluster: `q${index}`,
        predictions: { 'direct#0': `p${index}` },
      })),
    ),
  );
  await writeFileAtomic(
    files.predictions,
    lines(
      ANSWERS.map(([, text], index) => ({
        key: `p${index}`,
        item: `q${index}`,
        strategy: 'direct',
        repeat: 0,
        text,
        perceiver_text: null,
        boxes: [],
        stop: 'answered',
        notes: {},
        cost: { ...cost, model_seconds: 1 },
        trace: [],
        width: 10,
        height: 10,
      })),
    ),
  );
  await writeJson(files.manifest, {
    benchmark: 'open',
    title: 'Open',
    licence: 'none',
    count: ANSWERS.length,
    fingerprint: 'f',
    published: null,
    strategies: ['direct'],
    repeats: 1,
    models: { perceiver: 'm', reasoner: 'm' },
    labels: { perceiver: 'm', reasoner: 'm' },
    settings: { images: 'paper:1' },
  });
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

test('a judge decides what differs in words; an answer it gave no verdict on is missing, and verdicts are asked for once', async () => {
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const judge = {
    endpoint: { url: `http://127.0.0.1:${port}/v1`, model: 'judge', token: 't' },
    concurrency: 2,
    timeout: 5000,
  };
  const judged = await judgeAnswers(store, 'eval-open', 'p2r@1', judge);
  expect([...judged].sort()).toEqual([
    ['p1', true],
    ['p2', false],
    ['p3', null],
  ]);
  const rules = { extractor: 'p2r@1', imageRules: IMAGE_RULES.paper, grounding: 'union' } as const;
  const [summary] = (await scoreEvaluation(store, 'eval-open', { ...rules, judged })).summaries;
  expect(summary).toMatchObject({ count: 4, missing: 1, overall: null, bounds: [2 / 4, 3 / 4] });

  expect(asked).toBe(3);
  await judgeAnswers(store, 'eval-open', 'p2r@1', judge);
  expect(asked).toBe(4);
  // Without a judge at hand, reports use what it has said.
  const stored = await rulesOf(store, 'eval-open', { extractor: 'p2r@1', grounding: 'union' });
  const again = await scoreEvaluation(store, 'eval-open', stored);
  expect(again.summaries[0]).toMatchObject({ overall: { correct: 2, count: 4 } });
  expect(readFileSync(files.judged, 'utf8').split('\n').filter(Boolean).length).toBeGreaterThanOrEqual(2);
});
