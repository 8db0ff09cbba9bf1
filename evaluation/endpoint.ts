/** One request to an OpenAI-compatible endpoint, and what kind of failure it was when it fails. */
import { randomUUID } from 'node:crypto';
import OpenAI, { APIConnectionError, APIConnectionTimeoutError, APIError } from 'openai';
import { z } from 'zod';
import type { Reply, Request } from '../method/strategies/strategy.ts';

/** Where a model answers. `token` is sent as the Bearer token and never logged. */
export type Endpoint = { url: string; model: string; token: string };

/**
 * Why a request brought no reply.
 * - `overloaded`: 429, 503, 529 or a time-out: the endpoint has too much to do.
 * - `unavailable`: no connection, 5xx, or an answer that is none. Worth another try.
 * - `rejected`: the endpoint refused this request as such (400, 413, 422). The same request would be refused again.
 * - `context_full`: rejected because it does not fit the model's context.
 * - `misconfigured`: 401, 403 or 404: the address, the key or the model's name is wrong for all requests.
 */
export type FailureKind = 'overloaded' | 'unavailable' | 'rejected' | 'context_full' | 'misconfigured';

/** A request without a reply. The message names the endpoint and what it said, cut to 300 characters. */
export class RequestFailed extends Error {
  readonly kind: FailureKind;
  /** Seconds that the endpoint asked to wait. */
  readonly retryAfter: number | undefined;
  constructor(kind: FailureKind, message: string, retryAfter?: number, options?: ErrorOptions) {
    super(message, options);
    this.name = 'RequestFailed';
    this.kind = kind;
    this.retryAfter = retryAfter;
  }
}

const Usage = z.object({
  prompt_tokens: z.number().int().nonnegative(),
  completion_tokens: z.number().int().nonnegative(),
});

const Completion = z.object({
  choices: z
    .array(
      z.object({
        message: z.object({ content: z.string() }),
        finish_reason: z.string().nullish(),
        logprobs: z
          .object({
            content: z
              .array(
                z.object({ top_logprobs: z.array(z.object({ token: z.string(), logprob: z.number() })) }),
              )
              .nullish(),
          })
          .nullish(),
      }),
    )
    .min(1),
  usage: Usage.nullish(),
});

/**
 * `fetch`, whose body of bytes is empty afterwards. fetch copies a body before it returns; ours would stay until the collector comes, which
 * hardly sees the megabytes behind a small object.
 */
export const handOver: typeof fetch = (input, init) => {
  const answer = fetch(input, init);
  const body = init?.body;
  if (
    body instanceof Uint8Array &&
    body.buffer instanceof ArrayBuffer &&
    body.buffer.byteLength === body.byteLength
  )
    body.buffer.transfer(0);
  return answer;
};

const clients = new Map<string, OpenAI>();

function clientOf({ url, token }: Endpoint): OpenAI {
  const key = `${url}\n${token}`;
  let client = clients.get(key);
  if (client === undefined) {
    client = new OpenAI({ baseURL: url, apiKey: token, maxRetries: 0, fetch: handOver });
    clients.set(key, client);
  }
  return client;
}

/**
 * Sends a request once.
 * @param timeout milliseconds until a silent endpoint counts as overloaded
 * @throws RequestFailed with its kind; the signal's reason when aborted
 */
export async function send(
  endpoint: Endpoint,
  request: Request,
  timeout: number,
  signal?: AbortSignal,
): Promise<Reply> {
  const body = requestBody(endpoint.model, request);
  // The client's own time-out ends with the headers; a reply may also stop in the middle of its body.
  const abort = new AbortController();
  const stop = () => abort.abort();
  signal?.throwIfAborted();
  signal?.addEventListener('abort', stop, { once: true });
  const timer = setTimeout(stop, timeout);
  let value: unknown;
  try {
    value = await clientOf(endpoint).post('/chat/completions', {
      body,
      headers: { 'content-type': 'application/json' },
      timeout: timeout + 1000,
      signal: abort.signal,
    });
  } catch (error) {
    signal?.throwIfAborted();
    if (abort.signal.aborted)
      throw new RequestFailed('overloaded', `${endpoint.url} did not answer within ${timeout / 1000} s.`);
    throw classified(endpoint, error);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', stop);
  }
  const parsed = Completion.safeParse(value);
  const choice = parsed.data?.choices[0];
  if (choice === undefined)
    throw new RequestFailed('unavailable', `${endpoint.url} answered with something that is no completion.`);
  const { finish_reason: finish } = choice;
  const first = choice.logprobs?.content?.[0]?.top_logprobs;
  return {
    text: choice.message.content,
    finish: finish === 'stop' || finish === 'length' ? finish : 'other',
    promptTokens: parsed.data?.usage?.prompt_tokens ?? 0,
    completionTokens: parsed.data?.usage?.completion_tokens ?? 0,
    ...(first === undefined ? {} : { firstToken: first }),
  };
}

/**
 * The JSON body of a request as bytes. Images are encoded straight into it: as strings each would be copied four times on its way out,
 * and with tens of requests a second that is most of the memory and a third of the work.
 */
export function requestBody(model: string, { messages, decoding }: Request): Buffer {
  const { top_logprobs, ...sampling } = decoding;
  const images: Buffer[] = [];
  // Stands for an image until the text is laid out; nothing that a message holds can be mistaken for it.
  const mark = `image-${randomUUID()}`;
  const text = JSON.stringify({
    model,
    messages: messages.map(({ role, parts }) => {
      const [only] = parts;
      if (parts.length === 1 && typeof only === 'string') return { role, content: only };
      const content = parts.map((part) => {
        if (typeof part === 'string') return { type: 'text', text: part };
        images.push(part.bytes);
        return { type: 'image_url', image_url: { url: mark } };
      });
      return { role, content };
    }),
    // top_k and repetition_penalty are vLLM's, not OpenAI's: sent only where a strategy or the user asks for them.
    ...sampling,
    ...(top_logprobs === undefined ? {} : { logprobs: true, top_logprobs }),
  });
  const pieces = text.split(mark).map((piece) => Buffer.from(piece));
  const urls = images.map((bytes) => ({
    bytes,
    head: Buffer.from(`data:image/${mediaType(bytes)};base64,`),
  }));
  const size =
    pieces.reduce((sum, piece) => sum + piece.length, 0) +
    urls.reduce((sum, { bytes, head }) => sum + head.length + 4 * Math.ceil(bytes.length / 3), 0);
  const body = Buffer.allocUnsafe(size);
  let at = 0;
  for (const [index, piece] of pieces.entries()) {
    at += piece.copy(body, at);
    const url = urls[index];
    if (url === undefined) continue;
    at += url.head.copy(body, at);
    for (let from = 0; from < url.bytes.length; from += SLICE)
      at += body.write(url.bytes.toString('base64', from, from + SLICE), at, 'latin1');
  }
  return body;
}

/** Bytes encoded at a time: a multiple of three, so that the slices' base64 can be put together. */
const SLICE = 48 * 1024;

/** `png`, `webp` or `jpeg`, by the first bytes. */
function mediaType(bytes: Buffer): string {
  if (bytes[0] === 0x89) return 'png';
  return bytes.toString('latin1', 8, 12) === 'WEBP' ? 'webp' : 'jpeg';
}

const CONTEXT_FULL =
  /context.{0,20}(length|window)|max_model_len|maximum.{0,30}tokens|too many tokens|too long/i;

function classified(endpoint: Endpoint, error: unknown): RequestFailed {
  const detail = (error instanceof Error ? error.message : String(error)).slice(0, 300);
  const message = `${endpoint.url}: ${detail}`;
  const options = { cause: error };
  if (error instanceof APIConnectionTimeoutError)
    return new RequestFailed('overloaded', message, undefined, options);
  if (error instanceof APIConnectionError || !(error instanceof APIError) || error.status === undefined)
    return new RequestFailed('unavailable', message, undefined, options);
  const status: number = error.status;
  const asked = Number(error.headers?.get('retry-after') ?? Number.NaN);
  const retryAfter = Number.isFinite(asked) && asked >= 0 ? asked : undefined;
  if (status === 429 || status === 503 || status === 529)
    return new RequestFailed('overloaded', message, retryAfter, options);
  if (status === 401 || status === 403 || status === 404)
    return new RequestFailed('misconfigured', message, undefined, options);
  if (status >= 500 || status === 408 || status === 409)
    return new RequestFailed('unavailable', message, retryAfter, options);
  const full = error.code === 'context_length_exceeded' || CONTEXT_FULL.test(detail);
  return new RequestFailed(full ? 'context_full' : 'rejected', message, undefined, options);
}

const Models = z.object({
  data: z.array(
    z.looseObject({ id: z.string(), root: z.string().nullish(), max_model_len: z.number().nullish() }),
  ),
});

/**
 * What is known of the served model without asking it anything: its name, and what `/models` says of it. Resolves to null where the
 * endpoint has no such list. Throws {@link RequestFailed} `misconfigured` when there is a list and the model is not on it.
 */
export async function servedModel(
  endpoint: Endpoint,
  timeout: number,
): Promise<{ id: string; root: string | null; maxModelLength: number | null } | null> {
  const list = await clientOf(endpoint)
    .get('/models', { timeout })
    .then((value: unknown) => Models.safeParse(value))
    .catch((error: unknown) => {
      const failure = classified(endpoint, error);
      if (failure.kind === 'misconfigured' && error instanceof APIError && error.status !== 404)
        throw failure;
      return null;
    });
  if (list === null || !list.success) return null;
  const found = list.data.data.find(({ id }) => id === endpoint.model);
  if (found === undefined) {
    const known = list.data.data.map(({ id }) => id).join(', ');
    throw new RequestFailed(
      'misconfigured',
      `${endpoint.url} does not serve "${endpoint.model}"; it serves: ${known}.`,
    );
  }
  return { id: found.id, root: found.root ?? null, maxModelLength: found.max_model_len ?? null };
}
