/** The dashboard's HTTP side. It reads run directories; the only changes are decisions at a gate, handed to a {@link GateClient}. */
import { type Context, Hono } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { stream, streamSSE } from 'hono/streaming';
import { z } from 'zod';
import { CorruptFileError } from '../../store/files.ts';
import { InvalidIdError, openStore } from '../../store/layout.ts';
import type { GatePlan } from './api.ts';
import { followChanges, type Notice } from './changes.ts';
import { FEWEST_POINTS } from './downsample.ts';
import { openPredictions } from './evaluation.ts';
import { type GateClient, GateRefusedError, gateView, Retry, Skip } from './gate.ts';
import { guard, pageHeaders, showsToken } from './guard.ts';
import type { PageFile, PageFiles } from './page-files.ts';
import { problem } from './problem.ts';
import { openRollouts, ROLLOUT_ORDERS } from './rollouts.ts';
import { openRuns } from './runs.ts';
import { openSamples } from './samples.ts';
import { openSystem, type SystemSource } from './system.ts';
import { experimentDetail } from './view.ts';

/** How a dashboard is set up. */
export type DashboardOptions = {
  /** The home directory whose runs are shown. */
  home: string;
  /** The built page. */
  page: PageFiles;
  /** The way to the workflows that wait at a gate; without it decisions are refused. */
  gate?: GateClient | null;
  /** What the system page shows beside the disk. */
  system?: SystemSource | null;
  /** Names beside the loopback's that it may be asked for by. */
  allowedHosts?: readonly string[];
  /** What every change must show (see guard.ts); without it every change is refused. */
  token?: string | null;
  /** Whether looking needs the token as well. */
  tokenToLook?: boolean;
  /** Hears of errors that are not the asker's fault. */
  onError?: (error: unknown) => void;
};

/** Most points of one trace that are sent. */
const MOST_POINTS = 2000;
const DEFAULT_POINTS = 1000;
/** Pages that may listen at once. */
const MOST_STREAMS = 64;
/** A silent stream says this often that it is alive. */
const ALIVE_EVERY_MS = 15_000;
/** No change needs more than this. */
const LARGEST_BODY = 64 * 1024;

const Metric = z.string().regex(/^[a-z][a-z0-9_]{0,63}$/, 'metrics are lower-case names with commas between');
const Metrics = z
  .string()
  .transform((text) => [...new Set(text.split(','))])
  .pipe(z.array(Metric).min(1).max(32));

const CurveParameters = z
  .object({
    metrics: Metrics,
    phases: z
      .string()
      .max(100_000)
      .transform((text) => text.split(','))
      .optional(),
    from: z.coerce.number().min(0).optional(),
    to: z.coerce.number().min(0).optional(),
    points: z.coerce.number().int().min(FEWEST_POINTS).max(MOST_POINTS).default(DEFAULT_POINTS),
    smooth: z.coerce.number().min(0).max(0.999).default(0),
  })
  .refine(({ from = 0, to = Number.POSITIVE_INFINITY }) => from < to, '"from" must be below "to"');

const CsvParameters = z.object({ metrics: Metrics.optional() });
const StreamParameters = z.object({ experiment: z.string().optional() });
const Text = z.string().min(1).max(300);
const Switch = z.enum(['true', 'false']).transform((text) => text === 'true');

const RolloutParameters = z.object({
  phase: Text.optional(),
  step: z.coerce.number().int().min(1).optional(),
  sample: Text.optional(),
  kind: Text.optional(),
  correct: Switch.optional(),
  hit: Switch.optional(),
  boxes: z.coerce.number().int().min(0).optional(),
  iou_min: z.coerce.number().min(0).max(1).optional(),
  iou_max: z.coerce.number().min(0).max(1).optional(),
  reward_min: z.coerce.number().optional(),
  reward_max: z.coerce.number().optional(),
  disagreement_min: z.coerce.number().min(0).optional(),
  order: z.enum(ROLLOUT_ORDERS).default('step'),
  descending: Switch.default(true),
  offset: z.coerce.number().int().min(0).max(10_000_000).default(0),
  limit: z.coerce.number().int().min(1).max(100).default(24),
});

const ImageParameters = z.object({ dataset: Text, sample: Text });
const SampleParameters = z.object({ sample: Text });
const Column = z
  .string()
  .max(300)
  .regex(/^[^:]+:[^:]+$/, 'a column is "evaluation:strategy"')
  .transform((text) => {
    const [evaluation = '', strategy = ''] = text.split(':');
    return { evaluation, strategy };
  });
const AnswersParameters = z.object({ evaluation: Text });
const PairParameters = z.object({ a: Column, b: Column });

/** Builds the app; `close` ends its streams and its watching. */
export function createDashboard(options: DashboardOptions): { app: Hono; close: () => void } {
  const onError = options.onError ?? console.error;
  const token = options.token ?? null;
  const gate = options.gate ?? null;
  const store = openStore(options.home);
  const runs = openRuns(store);
  const samples = openSamples(store);
  const rollouts = openRollouts(store, samples);
  const predictions = openPredictions(store, samples);
  const system = openSystem(store, options.system ?? null);
  const changes = followChanges(store, runs, onError);
  const stopping = new AbortController();
  const app = new Hono();

  app.use(pageHeaders());
  app.use(
    guard({ allowedHosts: options.allowedHosts ?? [], token, tokenToLook: options.tokenToLook ?? false }),
  );
  app.use(bodyLimit({ maxSize: LARGEST_BODY }));
  app.use(async (context, next) => {
    context.header('cache-control', 'no-store');
    return next();
  });
  app.onError((error, context) => {
    if (error instanceof InvalidIdError || error instanceof BadRequestError)
      return problem(context, 400, 'bad-request', error.message);
    if (error instanceof NotFoundError) return problem(context, 404, 'not-found', error.message);
    if (error instanceof GateRefusedError) return problem(context, 409, 'refused', error.message);
    onError(error);
    if (error instanceof CorruptFileError) return problem(context, 500, 'unreadable', error.message);
    return problem(
      context,
      500,
      'internal',
      'The run directory could not be read; the dashboard log says why.',
    );
  });
  app.notFound((context) => problem(context, 404, 'not-found', 'There is nothing at this address.'));

  async function found<T>(id: string, what: Promise<T | null>): Promise<T> {
    const value = await what;
    if (value === null) throw new NotFoundError(`There is no experiment "${id}" in this home.`);
    return value;
  }
  const recordOf = (context: WithId) => found(context.req.param('id'), runs.record(context.req.param('id')));
  const readingOf = (context: WithId) => found(context.req.param('id'), runs.read(context.req.param('id')));

  app.get('/healthz', (context) => context.json({ ok: true }));

  app.get('/api/experiments', async (context) => context.json(await runs.list()));

  app.get('/api/experiments/:id', async (context) => {
    const id = context.req.param('id');
    return context.json(experimentDetail(await found(id, runs.read(id))));
  });

  app.get('/api/experiments/:id/curves', async (context) => {
    const query = parse(CurveParameters, context.req.query());
    return context.json(await runs.curves(await recordOf(context), query));
  });

  app.get('/api/experiments/:id/curves.csv', async (context) => {
    const { metrics = [] } = parse(CsvParameters, context.req.query());
    const record = await recordOf(context);
    context.header('content-type', 'text/csv; charset=utf-8');
    const name = [record.experiment, ...(metrics.length === 1 ? metrics : [])].join('-');
    context.header('content-disposition', `attachment; filename="${name}.csv"`);
    return stream(context, async (out) => {
      for await (const piece of runs.csv(record, metrics)) await out.write(piece);
    });
  });

  app.get('/api/experiments/:id/rollouts', async (context) => {
    const query = parse(RolloutParameters, context.req.query());
    return context.json(await rollouts.query(await recordOf(context), query));
  });

  app.get('/api/experiments/:id/evaluation', async (context) =>
    context.json(await predictions.page(await readingOf(context))),
  );

  app.get('/api/experiments/:id/pairs', async (context) => {
    const { a, b } = parse(PairParameters, context.req.query());
    const pair = await predictions.pair(await readingOf(context), a, b);
    if (pair === null)
      throw new NotFoundError('This home holds no answers of these two to the same samples.');
    return context.json(pair);
  });

  app.get('/api/experiments/:id/answers', async (context) => {
    const { evaluation } = parse(AnswersParameters, context.req.query());
    const answers = await predictions.answers(await readingOf(context), evaluation);
    if (answers === null) throw new NotFoundError('The answers of this evaluation are not in this home.');
    return context.json(answers);
  });

  app.get('/api/experiments/:id/predictions', async (context) => {
    const { sample } = parse(SampleParameters, context.req.query());
    return context.json(await predictions.history(await readingOf(context), sample));
  });

  app.get('/api/images', async (context) => {
    const { dataset, sample } = parse(ImageParameters, context.req.query());
    const image = await samples.image(dataset, sample);
    if (image === null) throw new NotFoundError('There is no image of this sample.');
    return context.body(image.bytes, 200, {
      'content-type': image.type,
      'cache-control': 'private, max-age=86400',
    });
  });

  app.get('/api/system', async (context) => context.json(await system.page()));

  app.get('/api/experiments/:id/gate', async (context) => {
    const view = await gateView(store, await readingOf(context), gate !== null && showsToken(context, token));
    return context.json({ gate: view });
  });

  /** The phase that waits now and the way to it; a decision about anything else is refused. */
  async function waiting(context: WithId): Promise<{ phase: string; client: GateClient }> {
    if (gate === null)
      throw new GateRefusedError('This dashboard was started without Temporal: decide with the p2r command.');
    const view = await gateView(store, await readingOf(context), true);
    if (view === null) throw new GateRefusedError('No phase waits for a decision any more.');
    return { phase: view.phase, client: gate };
  }
  async function body<T>(context: Context, schema: z.ZodType<T>): Promise<T> {
    if (!/^application\/json\b/.test(context.req.header('content-type') ?? ''))
      throw new BadRequestError('A decision is sent as JSON.');
    return parse(schema, await context.req.json().catch(() => null));
  }

  app.post('/api/experiments/:id/gate/plan', async (context) => {
    const wish = await body(context, Retry);
    // That a wish cannot be granted is what a plan is asked for to find out: an answer, not an error.
    try {
      const { phase, client } = await waiting(context);
      const steps = await client.plan(context.req.param('id'), phase, wish);
      return context.json({ steps, refused: null } satisfies GatePlan);
    } catch (error) {
      if (!(error instanceof GateRefusedError)) throw error;
      return context.json({ steps: [], refused: error.message } satisfies GatePlan);
    }
  });
  app.post('/api/experiments/:id/gate/retry', async (context) => {
    const wish = await body(context, Retry);
    const { phase, client } = await waiting(context);
    await client.retry(context.req.param('id'), phase, wish);
    return context.json({ phase });
  });
  app.post('/api/experiments/:id/gate/skip', async (context) => {
    const { use } = await body(context, Skip);
    const { phase, client } = await waiting(context);
    await client.skip(context.req.param('id'), phase, use);
    return context.json({ phase });
  });
  app.post('/api/experiments/:id/gate/abort', async (context) => {
    await body(context, z.strictObject({}));
    const { phase, client } = await waiting(context);
    await client.abort(context.req.param('id'), phase);
    return context.json({ phase });
  });

  app.get('/api/events', async (context) => {
    const { experiment } = parse(StreamParameters, context.req.query());
    if (experiment !== undefined) await found(experiment, runs.record(experiment));
    if (changes.listening() >= MOST_STREAMS)
      return problem(
        context,
        503,
        'busy',
        `${MOST_STREAMS} pages are open already: close one and try again.`,
      );
    return streamSSE(context, async (events) => {
      const waiting = new Map<string, Notice>();
      let wake = () => {};
      const leave = await changes.subscribe(
        {
          experiment: experiment ?? null,
          notify: (notice) => {
            // A reader that is slower than the run gets the newest notice of each kind.
            const kind = `${notice.event} ${notice.experiment}`;
            waiting.delete(kind);
            waiting.set(kind, notice);
            wake();
          },
        },
        context.req.header('last-event-id') ?? null,
      );
      const gone = () => wake();
      events.onAbort(gone);
      stopping.signal.addEventListener('abort', gone);
      try {
        while (!events.aborted && !stopping.signal.aborted) {
          const batch = [...waiting.values()];
          waiting.clear();
          for (const { id, event, experiment: name } of batch)
            await events.writeSSE({ id, event, data: JSON.stringify({ experiment: name }) });
          if (waiting.size > 0 || events.aborted || stopping.signal.aborted) continue;
          const alive = await new Promise<boolean>((resolve) => {
            const timer = setTimeout(resolve, ALIVE_EVERY_MS, true);
            wake = () => {
              clearTimeout(timer);
              resolve(false);
            };
          });
          if (alive) await events.write(': alive\n\n');
        }
      } finally {
        stopping.signal.removeEventListener('abort', gone);
        leave();
      }
    });
  });

  const send = (context: Context, file: PageFile, cacheControl: string) =>
    context.body(file.body, 200, { 'content-type': file.type, 'cache-control': cacheControl });
  for (const address of ['/', '/compare', '/system'])
    app.get(address, (context) => send(context, options.page.html, 'no-store'));
  app.get('/experiments/:id/:view?', (context) => {
    // What the page will ask for is read while the browser loads its scripts; errors are told when it asks.
    void runs.read(context.req.param('id')).catch(() => undefined);
    return send(context, options.page.html, 'no-store');
  });
  // Their names hold a hash of their contents, so a browser may keep them for good.
  app.get('/assets/*', (context) => {
    const file = options.page.assets.get(context.req.path);
    return file === undefined
      ? context.notFound()
      : send(context, file, 'public, max-age=31536000, immutable');
  });

  return {
    app,
    close: () => {
      stopping.abort();
      changes.close();
    },
  };
}

/** A request for one experiment. */
type WithId = { req: { param(name: 'id'): string } };

class BadRequestError extends Error {}
class NotFoundError extends Error {}

function parse<T>(schema: z.ZodType<T>, value: unknown): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const where = issue?.path[0] === undefined ? '' : `${String(issue.path[0])}: `;
  throw new BadRequestError(`The request is not valid: ${where}${issue?.message ?? 'unknown'}.`);
}
