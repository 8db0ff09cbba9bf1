/**
 * A stand-in for a model server: OpenAI-compatible, a fixed latency, a limit of slots, and faults on purpose. Requests beyond the slots
 * queue, as they do at vLLM. It counts how busy its slots were from the first request to the last reply.
 *
 *   node benchmarks/evaluation/stand-in.ts --slots 32 --latency 1000 --faults 0.1
 *
 * Prints one JSON line with its address. GET /stats gives the counts.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { seededRandom } from '../statistics/random.ts';

const { values } = parseArgs({
  options: {
    slots: { type: 'string', default: '32' },
    latency: { type: 'string', default: '1000' },
    faults: { type: 'string', default: '0' },
    seed: { type: 'string', default: '1' },
  },
});
const slots = Number(values.slots);
const latency = Number(values.latency);
const faults = Number(values.faults);
const random = seededRandom(Number(values.seed));

const stats = {
  first_request: 0,
  last_reply: 0,
  requests: 0,
  replies: 0,
  faults: 0,
  /** Milliseconds that slots were in use, summed over slots, until `since`. */
  slot_milliseconds: 0,
  bytes: 0,
};
let busy = 0;
let since = 0;
const waiting: (() => void)[] = [];

function tick(change: number): void {
  const now = performance.now();
  stats.slot_milliseconds += busy * (now - since);
  since = now;
  busy += change;
}

async function acquire(): Promise<void> {
  if (busy >= slots) await new Promise<void>((resolve) => waiting.push(resolve));
  else tick(1);
}

function release(): void {
  const next = waiting.shift();
  if (next === undefined) tick(-1);
  else next();
}

/** The end of a request's body, where the text is; images are only counted. */
async function tailOf(request: IncomingMessage): Promise<string> {
  let tail = Buffer.alloc(0);
  for await (const chunk of request as AsyncIterable<Buffer>) {
    stats.bytes += chunk.length;
    tail = Buffer.concat([tail.subarray(-4096), chunk]).subarray(-8192);
  }
  return tail.toString('utf8');
}

/** The reply that a question always gets, whatever happened to other requests. */
function replyTo(tail: string): string {
  const id = Number(/question (\d+)/.exec(tail)?.[1] ?? 0);
  if (tail.includes('bbox_2d')) {
    const at = (n: number) => (id * n) % 700;
    const boxes = [0, 1].map((i) => ({
      bbox_2d: [at(37) + 90 * i, at(53), at(37) + 90 * i + 60, at(53) + 50],
      label: `thing ${i}`,
    }));
    return JSON.stringify(boxes);
  }
  return `<think>It is seen in the crop.</think><answer>${'ABCD'[(id * 7) % 4]}</answer>`;
}

function json(response: ServerResponse, status: number, value: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
}

async function complete(request: IncomingMessage, response: ServerResponse): Promise<void> {
  stats.first_request ||= Date.now();
  since ||= performance.now();
  stats.requests++;
  const tail = await tailOf(request);
  await acquire();
  try {
    const fault = random() < faults ? Math.floor(random() * 4) : -1;
    if (fault >= 0) stats.faults++;
    if (fault === 0) return json(response, 500, { error: { message: 'out of memory' } });
    if (fault === 1) return; // hangs until the client gives up
    if (fault === 2) return void response.writeHead(200).end('<html>gateway</html>');
    await sleep(latency);
    if (fault === 3) return json(response, 200, { choices: [] });
    const text = replyTo(tail);
    json(response, 200, {
      id: 'stand-in',
      object: 'chat.completion',
      choices: [{ index: 0, message: { role: 'assistant', content: text }, finish_reason: 'stop' }],
      usage: { prompt_tokens: 1000, completion_tokens: Math.ceil(text.length / 4) },
    });
    stats.replies++;
    stats.last_reply = Date.now();
  } finally {
    release();
  }
}

const server = createServer((request, response) => {
  if (request.url === '/stats') {
    tick(0);
    return json(response, 200, stats);
  }
  if (request.url === '/v1/models') return json(response, 200, { data: [{ id: 'stand-in' }] });
  complete(request, response).catch(() => response.destroy());
});
server.requestTimeout = 0;
server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  console.log(JSON.stringify({ url: `http://127.0.0.1:${port}` }));
});
