/** Answers that are not a success. */
import type { Context } from 'hono';
import type { Problem } from './api.ts';

/** A typed JSON error: a code for programs, one sentence for people. */
export function problem(
  context: Context,
  status: 400 | 401 | 403 | 404 | 405 | 409 | 500 | 503,
  code: Problem['error']['code'],
  message: string,
): Response {
  return context.json({ error: { code, message } } satisfies Problem, status);
}
