/** The page's questions to its server. */
import type { Problem } from '../server/api.ts';

/** The server answered that something is wrong, or did not answer. `message` is one sentence for people. */
export class RequestError extends Error {
  readonly code: Problem['error']['code'] | 'unreachable';
  constructor(code: RequestError['code'], message: string) {
    super(message);
    this.name = 'RequestError';
    this.code = code;
  }
}

/** Parameters of a request; those that are null or undefined are left out. */
export type Parameters = Record<string, string | number | boolean | null | undefined>;

/** An address under /api with its parameters. */
export function apiAddress(path: string[], parameters: Parameters = {}): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters))
    if (value !== null && value !== undefined && value !== '') search.set(name, String(value));
  const query = search.toString();
  return `/api/${path.map(encodeURIComponent).join('/')}${query === '' ? '' : `?${query}`}`;
}

/** Questions that were asked before anybody waited for them. */
const early = new Map<string, Promise<unknown>>();

/** Asks now what a view will ask first, so that the answer comes while the view's scripts are loaded. */
export function askEarly(address: string): void {
  const answer = get(address);
  answer.catch(() => undefined);
  early.set(address, answer);
}

/** Lets go of early answers: something has changed since. */
export function forgetEarly(): void {
  early.clear();
}

/** Asks; throws a {@link RequestError}, or the signal's reason when it was aborted. */
export async function get<T>(address: string, signal?: AbortSignal): Promise<T> {
  const asked = early.get(address);
  early.delete(address);
  if (asked !== undefined) return asked as Promise<T>;
  return answer(address, { signal: signal ?? null });
}

/** Sends a decision; throws a {@link RequestError}. */
export async function post<T>(address: string, body: object): Promise<T> {
  return answer(address, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
}

async function answer<T>(address: string, request: RequestInit): Promise<T> {
  let response: Response;
  try {
    response = await fetch(address, request);
  } catch (error) {
    if (request.signal?.aborted) throw error;
    throw new RequestError('unreachable', 'The dashboard does not answer. Start it with "npx p2r up".');
  }
  const text = await response.text();
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    throw new RequestError('internal', `The dashboard answered ${response.status} without data.`);
  }
  if (response.ok) return body as T;
  const error = (body as Problem | null)?.error;
  throw new RequestError(
    error?.code ?? 'internal',
    error?.message ?? `The dashboard answered ${response.status}.`,
  );
}
