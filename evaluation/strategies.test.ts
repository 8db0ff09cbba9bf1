/**
 * Golden traces: every strategy asks a scripted endpoint about one scene, and what it sent, in what decoding, what it made of the replies
 * and what it cost must be what fixtures/traces/ holds. `vitest -u` writes them anew: read the difference.
 */
import { mkdtempSync } from 'node:fs';
import { createServer } from 'node:http';
import os from 'node:os';
import path from 'node:path';
import sharp from 'sharp';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { IMAGE_RULES } from '../method/images.ts';
import { STRATEGIES, strategyNamed } from '../method/strategies/index.ts';
import { StrategyUnfit } from '../method/strategies/strategy.ts';
import { openStore, type Store } from '../store/layout.ts';
import { readEvaluation } from '../store/predictions.ts';
import { EvaluationRun } from './run.ts';

type Reply = { text: string; first?: [string, number][]; status?: number };
/** The reply to the n-th request (from 0), given the text of its last message. */
type Script = (text: string, n: number) => Reply;

const SIZE = { width: 1280, height: 960 };
const JPEG = await sharp({ create: { ...SIZE, channels: 3, background: '#336699' } })
  .jpeg()
  .toBuffer();
const OPTIONS = ['red', 'green', 'blue', 'black'];

let store: Store;
let script: Script;
let trace: string[];
let requests: string[][];
let port: number;

const server = createServer(async (request, response) => {
  const chunks: Buffer[] = [];
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  const { messages, model, ...decoding } = JSON.parse(Buffer.concat(chunks).toString('utf8'));
  const shown: string[] = [];
  for (const message of messages) {
    const parts =
      typeof message.content === 'string' ? [{ type: 'text', text: message.content }] : message.content;
    for (const part of parts) {
      if (part.type === 'text') shown.push(`${message.role}: ${JSON.stringify(part.text)}`);
      else {
        const [head, data] = part.image_url.url.split(',');
        const { width, height } = await sharp(Buffer.from(data, 'base64')).metadata();
        shown.push(`${message.role}: [${head.split(/[:;]/)[1]} ${width}x${height}]`);
      }
    }
  }
  const reply = script(shown.at(-1) ?? '', requests.length);
  // A conversation repeats itself with every turn: only what is new since the last request is written down.
  const before = requests.at(-1) ?? [];
  const differs = shown.findIndex((line, index) => line !== before[index]);
  const earlier = differs < 0 ? 0 : differs;
  requests.push(shown);
  trace.push(
    `# to ${model}, ${JSON.stringify(decoding)}`,
    ...(earlier > 0 ? [`(${earlier} parts as before)`] : []),
    ...shown.slice(earlier),
    `-> ${JSON.stringify(reply.text)}${reply.first === undefined ? '' : ` ${JSON.stringify(reply.first)}`}`,
    '',
  );
  if (reply.status !== undefined)
    return void response.writeHead(reply.status).end(JSON.stringify({ error: { message: reply.text } }));
  const logprobs = {
    content: [{ top_logprobs: reply.first?.map(([token, logprob]) => ({ token, logprob })) }],
  };
  response.writeHead(200, { 'content-type': 'application/json' }).end(
    JSON.stringify({
      choices: [
        {
          message: { content: reply.text },
          finish_reason: 'stop',
          ...(reply.first === undefined ? {} : { logprobs }),
        },
      ],
      usage: { prompt_tokens: 100, completion_tokens: 10 },
    }),
  );
});

beforeEach(async () => {
  store = openStore(mkdtempSync(path.join(os.tmpdir(), 'p2r-traces-')));
  trace = [];
  requests = [];
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  port = typeof address === 'object' && address !== null ? address.port : 0;
});
afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

/** One question by one strategy; returns the prediction. */
async function asked(name: string, reply: Script, over: { stem?: string; open?: true; kites?: number } = {}) {
  script = reply;
  const strategy = strategyNamed(name);
  if (strategy === undefined) throw new Error(`There is no strategy ${name}.`);
  const stem = over.stem ?? 'What is the color of the kite?';
  const options = over.open ? [] : OPTIONS;
  const item = {
    id: 'kite',
    image: { key: 'kite', read: async () => JPEG },
    question: over.open ? stem : `${stem}\n${options.map((o, n) => `(${'ABCD'[n]}) ${o}`).join('\n')}`,
    stem,
    options,
    form: over.open ? ('text' as const) : ('choice' as const),
    answer: over.open ? 'a kite' : 'B',
    truth: Array.from({ length: over.kites ?? 1 }, () => ({
      x1: 800,
      y1: 100,
      x2: 880,
      y2: 180,
      label: 'kite',
    })),
    category: ['attribute'],
    cluster: 'kite',
  };
  const run = new EvaluationRun(
    {
      key: 'eval-trace',
      benchmark: {
        name: 'trace',
        title: 'Trace',
        licence: 'none',
        published: null,
        files: [],
        async *items() {
          yield item;
        },
      },
      strategies: [strategy],
      settings: {
        promptSet: 'authors-evaluation',
        imageRules: IMAGE_RULES['paper-evaluation'],
        perceiverMaxTokens: 256,
        reasonerMaxTokens: 1024,
        temperature: 0,
      },
      repeats: 1,
      models: { perceiver: 'P', reasoner: 'R' },
      labels: { perceiver: 'P', reasoner: 'R' },
      rules: { extractor: 'p2r@1', imageRules: IMAGE_RULES['paper-evaluation'], grounding: 'union' },
    },
    {
      store,
      at: (role, request) => request({ url: `http://127.0.0.1:${port}/v1`, model: role, token: 't' }),
      concurrency: 1,
      timeout: 5000,
      retries: 0,
      retryDelay: 1,
      slowestRetry: 1,
      patience: 10,
    },
  );
  await run.run();
  const { predictions } = await readEvaluation(store, 'eval-trace');
  const [row] = predictions.values();
  if (row === undefined) throw new Error(`No prediction after\n${trace.join('\n')}`);
  return row;
}

/** The trace with the prediction at its end, as the golden files hold it. */
function golden(row: Awaited<ReturnType<typeof asked>>): string {
  const { text, stop, boxes, notes, cost, verdict } = row;
  const { model_seconds: _, ...ledger } = cost;
  const rounded = boxes.map((box) => box.map((value) => Math.round(value * 100) / 100));
  const end = {
    stop,
    text,
    answer: verdict?.answer,
    correct: verdict?.correct,
    boxes: rounded,
    notes,
    ledger,
  };
  return `${[...trace, ...Object.entries(end).map(([key, value]) => `${key}: ${JSON.stringify(value)}`)].join('\n')}\n`;
}

const tool = (value: object) => `<think>Nearer.</think><tool_call>\n${JSON.stringify(value)}\n</tool_call>`;
const zoom = (bbox_2d: number[], more: object = { label: 'kite' }) =>
  tool({ name: 'image_zoom_in_tool', arguments: { bbox_2d, ...more } });
const inTurn =
  (...replies: string[]): Script =>
  (_, n) => ({ text: replies[n] ?? replies.at(-1) ?? '' });
const boxes = '[{"bbox_2d": [625, 104, 688, 188], "label": "kite"}]';
const B = '<think>Green.</think><answer>B</answer>';

/** "Yes" as likely as told, in logits. */
const sure = (logit: number): Reply => ({
  text: logit > 0 ? 'Yes' : 'No',
  first: [
    ['Yes', logit / 2],
    ['No', -logit / 2],
  ],
});

/** The kite is seen in the second view of the lower right, and nowhere else. */
function zoomEyeScript(): Script {
  let views = 0;
  return (text) => {
    if (text.includes('which objects'))
      return { text: 'To answer it. So I need the information about the following objects: kite.' };
    if (text.includes('Could you answer')) return sure(++views === 3 ? 6 : -1);
    if (text.includes('Is there a')) return sure(views === 1 ? 1 : -2);
    if (text.includes('is it possible')) return sure(0.5);
    return { text: 'B' };
  };
}

/** The tail is seen from its second view on; the first answer names no letter. */
function dyfoScript(): Script {
  let [tails, answers] = [0, 0];
  return (text) => {
    if (text.includes('Extract all objects')) return { text: 'kite, tail' };
    if (text.includes('Locate the')) return { text: boxes };
    if (text.includes('Is there a tail')) return { text: tails++ > 0 ? 'yes' : 'no' };
    if (text.includes('Is there a')) return { text: 'Yes.' };
    return { text: answers++ > 0 ? 'B' : 'none of them' };
  };
}

const SCRIPTS: Record<string, Script> = {
  direct: inTurn('B'),
  cot: inTurn(B),
  p2r: inTurn(boxes, B),
  oracle: inTurn(B),
  none: inTurn(B),
  random: inTurn(B),
  self: inTurn(boxes, B),
  grounding: inTurn(boxes),
  'qwen3-vl-zoom': inTurn(
    zoom([600, 50, 700, 250], { label: 'kite', img_idx: 0 }),
    zoom([500, 500, 501, 501], { label: 'kite', img_idx: 1 }),
    zoom([0, 0, 500, 500], { label: 'kite', img_idx: 7 }),
    B,
  ),
  deepeyes: inTurn(zoom([780, 80, 900, 200]), B),
  'mini-o3': inTurn(
    '<think>Up.</think><grounding>{"bbox_2d": [0.5, 0.0, 1.0, 0.5], "source": "original_image"}</grounding>',
    '<think>Up.</think><grounding>{"bbox_2d": [0.2, 0.1, 0.6, 0.5], "source": "observation_1"}</grounding>',
    '<think>Up.</think><grounding>{"bbox_2d": [0.2, 0.1, 0.1, 0.5], "source": "observation_2"}</grounding>',
    B,
  ),
  'pixel-reasoner': inTurn(
    tool({ name: 'crop_image_normalized', arguments: { bbox_2d: [0.6, 0.1, 0.7, 0.2], target_image: 1 } }),
    tool({ name: 'crop_image_normalized', arguments: { bbox_2d: [0.4, 0.4, 1, 1], target_image: 2 } }),
    tool({ name: 'select_frames', arguments: { target_frames: [1] } }),
    'It is green: \\boxed{B}',
  ),
  'zoom-eye': zoomEyeScript(),
  'dyfo-vlm': dyfoScript(),
};

test('every strategy has a golden trace', () => {
  expect(Object.keys(SCRIPTS).sort()).toEqual(STRATEGIES.map(({ name }) => name).sort());
});

test.each(Object.keys(SCRIPTS))('%s', async (name) => {
  const row = await asked(name, SCRIPTS[name] ?? inTurn());
  await expect(golden(row)).toMatchFileSnapshot(
    path.join(import.meta.dirname, 'fixtures/traces', `${name}.txt`),
  );
});

test.each([
  ['qwen3-vl-zoom', zoom([0, 0, 500, 500], { label: '', img_idx: 0 }), 20],
  ['deepeyes', zoom([0, 0, 500, 500]), 11],
  ['mini-o3', '<grounding>{"bbox_2d": [0, 0, 0.5, 0.5], "source": "original_image"}</grounding>', 12],
  [
    'pixel-reasoner',
    tool({ name: 'crop_image_normalized', arguments: { bbox_2d: [0.1, 0.1, 0.5, 0.5], target_image: 1 } }),
    4,
  ],
])('%s that never answers ends with its last turn', async (name, reply, calls) => {
  const row = await asked(name, inTurn(reply));
  expect(row).toMatchObject({ stop: 'turns', cost: { calls }, verdict: { correct: false } });
});

test.each([
  ['qwen3-vl-zoom', '<tool_call>{"name": "image_zoom_in_tool", "arguments": {"bbox_2d": "all"}}</tool_call>'],
  ['mini-o3', '<grounding>[0, 0, 1, 1]</grounding>'],
  ['pixel-reasoner', '<tool_call>not JSON</tool_call>'],
])('%s tells the model what was wrong with a call', async (name, reply) => {
  const row = await asked(name, inTurn(reply, B.replace('B<', '\\boxed{B}<')));
  expect(row).toMatchObject({ stop: 'answered', notes: { tool_errors: 1 }, verdict: { correct: true } });
});

test('a conversation that no longer fits the model ends with that reason', async () => {
  const full = { text: "This model's maximum context length is 4096 tokens.", status: 400 };
  const row = await asked('deepeyes', (_, n) => (n < 2 ? { text: zoom([0, 0, 90, 90]) } : full));
  expect(row).toMatchObject({ stop: 'context_full', cost: { calls: 2 }, verdict: { correct: false } });
  expect(row.boxes).toHaveLength(2);
});

test('ZoomEye weighs all places of "all X", and refuses an endpoint without log-probabilities', async () => {
  const row = await asked(
    'zoom-eye',
    (text) => {
      if (text.includes('which objects'))
        return { text: 'So I need the information about the following objects: all kites, his bag' };
      if (text.includes('Is there a kite ')) return sure(text.includes('zoomed-in') ? 3 : 1);
      return { text: 'two' };
    },
    { stem: 'How many kites are there?', open: true },
  );
  // Every leaf of depth two is as sure as can be, and so is every node above it.
  expect(row).toMatchObject({ stop: 'answered', text: 'two', notes: { cues: 1 } });
  expect(row.boxes.length).toBeGreaterThan(16);
  store = openStore(mkdtempSync(path.join(os.tmpdir(), 'p2r-traces-')));
  await expect(
    asked('zoom-eye', (text) =>
      text.includes('which objects')
        ? { text: 'So I need the information about the following objects: kite.' }
        : { text: 'Yes' },
    ),
  ).rejects.toThrow(StrategyUnfit);
});

test('a random box is the same for every model, has the size of a true one, and is alone however many those are', async () => {
  const first = await asked('random', inTurn(B));
  store = openStore(mkdtempSync(path.join(os.tmpdir(), 'p2r-traces-')));
  const second = await asked('random', inTurn('<answer>A</answer>'), { kites: 3 });
  expect(second.boxes).toEqual(first.boxes);
  expect(first.boxes).toHaveLength(1);
  const [[x1, y1, x2, y2] = []] = first.boxes;
  expect([Number(x2) - Number(x1), Number(y2) - Number(y1)]).toEqual([80, 80]);
});
