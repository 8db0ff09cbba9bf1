import { mkdtempSync, readFileSync, renameSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { beforeEach, expect, test, vi } from 'vitest';
import { IMAGE_RULES } from '../../method/images.ts';
import type { Sample } from '../../store/samples.ts';
import { RoleUnavailableError } from '../roles.ts';
import { Judge } from './judge.ts';
import { createRewardServer } from './server.ts';

const sample: Sample = {
  sample_id: 's1',
  image: 'unused.jpg',
  width: 1000,
  height: 1000,
  question: 'What letter is on the red circle?\n(A) X\n(B) P',
  options: ['X', 'P'],
  answer: 'B',
  kind: 'letter',
  boxes: [[100, 100, 200, 200]],
  labels: ['red circle'],
  split: 'train',
};
const HIT = '[{"bbox_2d": [100, 100, 200, 200], "label": "red circle"}]';

let file: string;
let asked: number;
let answer: () => Promise<string>;

beforeEach(() => {
  file = path.join(mkdtempSync(path.join(os.tmpdir(), 'p2r-rewards-')), 'judgements.jsonl');
  asked = 0;
  answer = async () => 'The answer is (B).';
});

async function service(role: 'perceiver' | 'reasoner' | 'direct' = 'perceiver', samples = [sample]) {
  const judge = await Judge.open({
    role,
    samples,
    context: 'c',
    perceptions: new Map([['s1', { text: HIT }]]),
    extractor: 'p2r@1',
    roles: {
      imageRules: IMAGE_RULES.tiny,
      evidence: async () => ({ images: [], boxes: [], hasBoxes: true }),
      reason: async () => {
        asked++;
        return answer();
      },
    },
    files: [file, `${file}.other`],
    concurrency: 4,
  });
  const app = createRewardServer(judge, role, 'secret');
  return (completions: object[], token = 'secret', asRole: string = role) =>
    app.request('/v1/judge', {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
      body: JSON.stringify({ role: asRole, step: 1, completions }),
    });
}

const completion = (text: string, rollout = 0) => ({ sample_id: 's1', rollout, text });

test('a perceiver completion is judged by what the reasoner makes of its boxes', async () => {
  const judge = await service();
  const response = await judge([completion(HIT), completion(HIT, 1), completion('no box', 2)]);
  expect(response.status).toBe(200);
  const { judgements } = (await response.json()) as {
    judgements: { rollout: number; reward: number; metrics: Record<string, number> }[];
  };
  expect(judgements.map(({ rollout, reward }) => [rollout, reward])).toEqual([
    [0, 1],
    [1, 1],
    [2, 1],
  ]);
  expect(judgements[0]?.metrics).toMatchObject({ hit_rate: 1, iou: 1, box_count: 1, box_size: 100 });
  expect(judgements[2]?.metrics).toMatchObject({ hit_rate: 0, iou: 0, box_count: 0 });
  expect(asked).toBe(2);
});

test('a judged completion keeps its verdict over a restart, whatever the model would say now', async () => {
  await (await service())([completion(HIT)]);
  answer = async () => 'The answer is (A).';
  const again = await (await service())([completion(HIT)]);
  expect(((await again.json()) as { judgements: { reward: number }[] }).judgements[0]?.reward).toBe(1);
  expect(asked).toBe(1);
});

test('a model that is away gives 503 and no reward; what was judged meanwhile is kept', async () => {
  const judge = await service();
  let calls = 0;
  answer = async () => {
    if (calls++ > 0) throw new RoleUnavailableError('the model server did not answer', 'refused');
    return 'The answer is (A).';
  };
  const response = await judge([completion(HIT), completion('no box', 1)]);
  expect(response.status).toBe(503);
  expect(await response.json()).toEqual({ error: 'the model server did not answer: refused' });
  const kept = readFileSync(file, 'utf8').trimEnd().split('\n');
  expect(kept).toHaveLength(1);
  expect(JSON.parse(kept[0] ?? '')).toMatchObject({ reward: 0, correct: false });
});

test('the reasoner is judged by its answer alone', async () => {
  const judge = await service('reasoner');
  const response = await judge([
    completion('So it is P. The answer is (B).'),
    completion('The answer is (A).', 1),
  ]);
  const { judgements } = (await response.json()) as {
    judgements: { reward: number; metrics: { iou: number } }[];
  };
  expect(judgements.map(({ reward }) => reward)).toEqual([1, 0]);
  expect(judgements[0]?.metrics.iou).toBe(1);
  expect(asked).toBe(0);
});

test('an answer without options is judged as what its row says: a number, or text', async () => {
  const open = { ...sample, options: [], question: 'How far?' };
  const rewards = async (row: Sample, text: string) => {
    file = path.join(mkdtempSync(path.join(os.tmpdir(), 'p2r-rewards-')), 'judgements.jsonl');
    const response = await (await service('reasoner', [row]))([completion(text)]);
    return ((await response.json()) as { judgements: { reward: number }[] }).judgements[0]?.reward;
  };
  const number: Sample = { ...open, form: 'number', answer: '12.50' };
  expect(await rewards(number, '<answer>12.5</answer>')).toBe(1);
  expect(await rewards(number, '<answer>13</answer>')).toBe(0);
  const text: Sample = { ...open, answer: 'the Red Lion' };
  expect(await rewards(text, '<answer>Red Lion.</answer>')).toBe(1);
  expect(await rewards(text, '<answer>White Hart</answer>')).toBe(0);
});

test('the direct baseline is judged by its answer, and has no boxes to measure', async () => {
  const judge = await service('direct');
  const response = await judge([completion('So it is P. The answer is (B).'), completion('(A)', 1)]);
  const { judgements } = (await response.json()) as { judgements: { reward: number; metrics: object }[] };
  expect(judgements.map(({ reward }) => reward)).toEqual([1, 0]);
  expect(judgements[0]?.metrics).toEqual({ hit_rate: null, iou: null, box_count: null, box_size: null });
  expect(asked).toBe(0);
});

test('a verdict that another process of the service has written counts, too', async () => {
  await (await service())([completion(HIT)]);
  renameSync(file, `${file}.other`);
  const again = await (await service())([completion(HIT)]);
  expect(again.status).toBe(200);
  expect(asked).toBe(1);
});

test('what waits for its turn is visible', async () => {
  const answers: (() => void)[] = [];
  answer = () => new Promise((resolve) => answers.push(() => resolve('The answer is (B).')));
  const judge = await Judge.open({
    role: 'perceiver',
    samples: [sample],
    context: 'c',
    perceptions: new Map(),
    extractor: 'p2r@1',
    roles: {
      imageRules: IMAGE_RULES.tiny,
      evidence: async () => ({ images: [], boxes: [], hasBoxes: true }),
      reason: () => answer(),
    },
    files: [file],
    concurrency: 2,
  });
  const app = createRewardServer(judge, 'perceiver', 'secret');
  const load = async () => (await app.request('/healthz')).json();
  const all = ['a', 'b', 'c', 'd', 'e'].map((text) => judge.judge(completion(text)));
  await vi.waitFor(() => expect(answers).toHaveLength(2));
  expect(await load()).toEqual({ role: 'perceiver', running: 2, waiting: 3, judged: 0 });
  for (let n = 0; n < 5; n++) {
    await vi.waitFor(() => expect(answers.length).toBeGreaterThan(0));
    answers.shift()?.();
  }
  await Promise.all(all);
  expect(await load()).toEqual({ role: 'perceiver', running: 0, waiting: 0, judged: 5 });
});

test('wrong token, role, body or sample are refused, each with its status', async () => {
  const judge = await service();
  expect((await judge([completion(HIT)], 'wrong')).status).toBe(401);
  expect((await judge([completion(HIT)], 'secret', 'reasoner')).status).toBe(400);
  expect((await judge([])).status).toBe(400);
  expect((await judge([{ ...completion(HIT), sample_id: 'other' }])).status).toBe(422);
});
