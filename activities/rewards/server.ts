/** The reward service's HTTP side: POST /v1/judge for engines, GET /healthz for whoever supervises it. */
import { timingSafeEqual } from 'node:crypto';
import { Hono } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { z } from 'zod';
import { RoleUnavailableError } from '../roles.ts';
import { Completion, type Judge, type JudgeOptions, UnknownSampleError } from './judge.ts';

const Request = z.object({
  role: z.enum(['perceiver', 'reasoner', 'direct']),
  step: z.int().min(0),
  completions: z.array(Completion).min(1).max(4096),
});

const MAX_BODY_BYTES = 64 * 1024 * 1024;

/**
 * A batch is answered whole (200) or not at all: 503 while anything needed is away (the engine tries again; what was judged is kept),
 * 400 for a malformed request, 401 without the token, 422 for a sample that does not belong here.
 */
export function createRewardServer(judge: Judge, role: JudgeOptions['role'], token: string): Hono {
  const app = new Hono();
  app.get('/healthz', (context) => context.json({ role, ...judge.load }));
  app.post('/v1/judge', bodyLimit({ maxSize: MAX_BODY_BYTES }), async (context) => {
    const given = Buffer.from(context.req.header('authorization') ?? '');
    const wanted = Buffer.from(`Bearer ${token}`);
    if (given.length !== wanted.length || !timingSafeEqual(given, wanted))
      return context.json({ error: 'wrong token' }, 401);
    const request = Request.safeParse(await context.req.json().catch(() => null));
    if (!request.success) {
      const issue = request.error.issues[0];
      return context.json(
        { error: `${issue?.path.join('.') || 'body'}: ${issue?.message ?? 'invalid'}` },
        400,
      );
    }
    if (request.data.role !== role)
      return context.json({ error: `this service judges the ${role}, not the ${request.data.role}` }, 400);
    const results = await Promise.allSettled(
      request.data.completions.map((completion) => judge.judge(completion)),
    );
    const failure = results.find((result) => result.status === 'rejected');
    if (failure !== undefined) {
      const { reason } = failure;
      if (reason instanceof UnknownSampleError) return context.json({ error: reason.message }, 422);
      if (!(reason instanceof RoleUnavailableError)) console.error(reason);
      context.header('Retry-After', '1');
      return context.json(
        { error: reason instanceof Error ? reason.message : 'a completion could not be judged' },
        503,
      );
    }
    const judgements = results.flatMap((result, index) =>
      result.status === 'fulfilled'
        ? [{ ...result.value, rollout: request.data.completions[index]?.rollout ?? 0 }]
        : [],
    );
    return context.json({ judgements });
  });
  return app;
}
