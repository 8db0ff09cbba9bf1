import { appendFileSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { MockActivityEnvironment } from '@temporalio/testing';
import sharp from 'sharp';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { STRATEGIES } from '../method/strategies/index.ts';
import { evaluationFiles, Prediction, readScores } from '../store/evaluations.ts';
import { readEvents } from '../store/experiments.ts';
import { readJson, readJsonLines, writeJson } from '../store/files.ts';
import { openStore, type Store } from '../store/layout.ts';
import { loadStudy } from '../studies/index.ts';
import { planExperiment } from '../studies/plan.ts';
import { Strategy, type Study } from '../studies/study.ts';
import type { EvaluationPlan } from '../workflows/types.ts';
import { createEvaluationActivities } from './evaluating.ts';
import { serviceFiles } from './phase-files.ts';
import { Endpoint } from './roles.ts';

let store: Store;
let asked: string[];
let askedModels: string[];
let fail: (text: string, count: number) => boolean;
const server = createServer((request, response) => void reply(request, response));

async function reply(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  const body = JSON.parse(Buffer.concat(chunks).toString('utf8'));
  const text = body.messages[1].content.findLast(({ type }: { type: string }) => type === 'text').text;
  asked.push(text);
  askedModels.push(`${body.model} ${text.includes('bounding box') ? 'perceives' : 'reasons'}`);
  if (fail(text, asked.length)) return void response.writeHead(500).end('{}');
  const content = text.includes('bounding box')
    ? '[{"bbox_2d": [100, 100, 200, 200], "label": "letter"}]'
    : '<answer>B</answer>';
  response.writeHead(200, { 'content-type': 'application/json' });
  response.end(JSON.stringify({ choices: [{ message: { content }, finish_reason: 'stop' }] }));
}

beforeEach(async () => {
  store = openStore(mkdtempSync(path.join(os.tmpdir(), 'p2r-evaluating-')));
  asked = [];
  askedModels = [];
  fail = () => false;
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});
afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

const strategies = ['direct', 'p2r', 'oracle', 'random', 'none', 'grounding'] as const;

/** The smoke study's base over two questions about one scene of 640 x 320. */
async function prepared() {
  const study: Study = await loadStudy('tiny-smoke');
  study.evaluation = { ...study.evaluation, strategies: [...strategies] };
  const [evaluation] = planExperiment(study, 'test', 'weights-1').evaluations;
  if (evaluation === undefined) throw new Error('The plan has no evaluation.');
  const scenes = store.scenes(evaluation.scenes.key);
  mkdirSync(scenes, { recursive: true });
  await sharp({ create: { width: 640, height: 320, channels: 3, background: '#336699' } })
    .jpeg()
    .toFile(path.join(scenes, 'a.jpg'));
  const row = {
    image: 'a.jpg',
    width: 640,
    height: 320,
    question: 'Which letter?\n(A) X\n(B) Y',
    options: ['X', 'Y'],
    boxes: [[64, 32, 128, 64]],
    labels: ['letter'],
    split: 'held-out',
  };
  const rows = [
    { ...row, sample_id: 's0', answer: 'B', kind: 'letter' },
    { ...row, sample_id: 's1', answer: 'A', kind: 'count' },
  ];
  writeFileSync(path.join(scenes, 'rows.jsonl'), rows.map((one) => `${JSON.stringify(one)}\n`).join(''));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  await writeJson(serviceFiles(store.evaluation(evaluation.key)).modelEndpoint, {
    url: `http://127.0.0.1:${port}/v1`,
    model: 'm',
    token: 't',
  });
  const { evaluateModel } = createEvaluationActivities(store);
  return {
    key: evaluation.key,
    evaluation,
    study,
    evaluate: () => new MockActivityEnvironment().run(evaluateModel, { study, evaluation }),
  };
}

test('scores and predictions have the form that tables, dashboard and notebooks read', async () => {
  const { key, evaluate } = await prepared();
  fail = (_, count) => count === 2;
  await evaluate();
  const scores = await readScores(store, key);
  expect(scores).toMatchObject({ key, checkpoint: 'base', model_key: 'weights-1' });
  expect(Object.keys(scores?.strategies ?? {})).toEqual(strategies);
  expect(scores?.strategies.p2r).toMatchObject({
    accuracy: 0.5,
    correct: 1,
    count: 2,
    hit_rate: 1,
    iou: 1,
    box_count: 1,
    by_kind: { letter: { accuracy: 1, count: 1 }, count: { accuracy: 0, count: 1 } },
  });
  expect(scores?.strategies.grounding).toMatchObject({ accuracy: 1 });
  expect(scores?.strategies.direct).toMatchObject({ hit_rate: null, box_count: null });
  const rows = await readJsonLines(evaluationFiles(store, key).predictions, Prediction);
  expect(rows).toHaveLength(12);
  expect(rows.find((row) => row.strategy === 'p2r' && row.sample_id === 's1')).toMatchObject({
    kind: 'count',
    boxes: [[64, 32, 128, 64]],
    text: '<answer>B</answer>',
    extracted_answer: 'B',
    correct: false,
    metrics: { hit_rate: 1 },
  });
});

test('an evaluation begun by the first version goes on: its old lines stay readable and are asked again', async () => {
  const { key, evaluate } = await prepared();
  const old = [0, 1, 2]
    .map((number) =>
      JSON.stringify({
        key: `prediction-${number}`,
        sample_id: `needle-held-out-0-${number}-0`,
        strategy: 'p2r',
        kind: 'letter',
        perceiver_text: '[]',
        boxes: [[835.2, 349.44, 911.04, 425.28]],
        text: 'The red circle shows the letter M. The answer is (A).',
        extracted_answer: 'A',
        correct: true,
        metrics: { hit_rate: 0.5, iou: 0.49 },
      }),
    )
    .join('\n');
  writeFileSync(evaluationFiles(store, key).predictions, `${old}\n`);
  await evaluate();
  expect((await readScores(store, key))?.strategies.direct?.count).toBe(2);
  expect(await readJsonLines(evaluationFiles(store, key).predictions, Prediction)).toHaveLength(15);
});

test('a study may name every strategy that there is, and no other', () => {
  expect(Strategy.options.toSorted()).toEqual(STRATEGIES.map(({ name }) => name).toSorted());
});

test('two attempts at once, and one after another, end with the same scores and ask nothing that is known', async () => {
  const { key, evaluate } = await prepared();
  await Promise.all([evaluate(), evaluate()]);
  const first = await readScores(store, key);
  const count = asked.length;
  await evaluate();
  expect(asked).toHaveLength(count);
  expect(await readScores(store, key)).toEqual(first);
});

test('in a pair, each checkpoint plays its own role', async () => {
  const { study, evaluation } = await prepared();
  const base = evaluation.model;
  const pair: EvaluationPlan = {
    ...evaluation,
    checkpoint: 'trained for base',
    strategies: ['p2r'],
    perceiver: { kind: 'phase', phase: 'p', step: 2, key: 'weights-2', name: 'trained' },
  };
  const owner = store.evaluation(pair.key);
  const known = await readJson(serviceFiles(owner).modelEndpoint, Endpoint);
  await writeJson(serviceFiles(path.join(owner, 'perceiver')).modelEndpoint, { ...known, model: 'other' });
  const { evaluateModel } = createEvaluationActivities(store);
  await new MockActivityEnvironment().run(evaluateModel, { study, evaluation: pair });
  expect([...new Set(askedModels)].sort()).toEqual(['m reasons', 'other perceives']);
  expect(await readScores(store, pair.key)).toMatchObject({
    checkpoint: 'trained for base',
    model_key: base.key,
  });
});

test('scores whose predictions or replies have changed are set aside, told, and made anew; later lines do no harm', async () => {
  const { key, evaluate } = await prepared();
  const { evaluationIsComplete } = createEvaluationActivities(store);
  const user = { experiment: 'e', part: 'evaluation/base' };
  expect(await evaluationIsComplete({ key, user })).toBe(false);
  await evaluate();
  const whole = await readScores(store, key);
  expect(whole?.files?.map((file) => file.path)).toEqual(['calls.jsonl', 'predictions.jsonl']);
  const { predictions } = evaluationFiles(store, key);
  appendFileSync(predictions, '{"key":"of a late attempt"}\n');
  expect(await evaluationIsComplete({ key, user })).toBe(true);

  writeFileSync(predictions, readFileSync(predictions, 'utf8').replace('<answer>B', '<answer>A'));
  expect(await evaluationIsComplete({ key, user })).toBe(false);
  expect(await readScores(store, key)).toBeNull();
  expect(await readEvents(store, 'e')).toMatchObject([
    {
      type: 'predictions-damaged',
      phase: 'evaluation/base',
      detail: { aside: 'calls.jsonl.corrupt-1, predictions.jsonl.corrupt-1, scores.json.corrupt-1' },
    },
  ]);
  await evaluate();
  expect((await readScores(store, key))?.strategies).toEqual(whole?.strategies);
  expect(await evaluationIsComplete({ key, user })).toBe(true);
});
