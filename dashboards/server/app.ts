/** The dashboard's HTTP side. It reads run directories, changes nothing, and answers loopback names only. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createRequire, stripTypeScriptTypes } from 'node:module';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Hono } from 'hono';
import { secureHeaders } from 'hono/secure-headers';
import { streamSSE } from 'hono/streaming';
import { listExperiments, readExperiment } from '../../store/experiments.ts';
import { InvalidIdError, type Store } from '../../store/layout.ts';
import { readCurves } from './curves.ts';

const WEB = path.resolve(import.meta.dirname, '..', 'web');
const PLOTLY = createRequire(import.meta.url).resolve('plotly.js-basic-dist-min');
const LOOPBACK = new Set(['127.0.0.1', 'localhost', '[::1]']);
const LOOK_EVERY_MS = 500;

/** Builds the app over one home. */
export function createDashboard(store: Store): Hono {
  const app = new Hono();
  app.use(async (context, next) => {
    const host = (context.req.header('host') ?? '').replace(/:\d+$/, '');
    if (!LOOPBACK.has(host))
      return context.json({ error: `Host "${host.slice(0, 100)}" is not served here.` }, 403);
    await next();
  });
  // Plotly writes style attributes; scripts come from here alone.
  app.use(
    secureHeaders({
      contentSecurityPolicy: {
        defaultSrc: ["'none'"],
        scriptSrc: ["'self'"],
        styleSrc: ["'self'", "'unsafe-inline'"],
        imgSrc: ["'self'", 'data:', 'blob:'],
        connectSrc: ["'self'"],
        baseUri: ["'none'"],
        formAction: ["'none'"],
        frameAncestors: ["'none'"],
      },
    }),
  );
  app.onError((error, context) => {
    if (error instanceof InvalidIdError) return context.json({ error: error.message }, 400);
    console.error(error);
    return context.json({ error: 'The run directory could not be read; see the dashboard log.' }, 500);
  });

  app.get('/healthz', (context) => context.json({ ok: true }));
  app.get('/api/experiments', async (context) => {
    const records = await listExperiments(store);
    return context.json(
      records.map(({ experiment, study, seed, created_at }) => ({ experiment, study, seed, created_at })),
    );
  });
  app.get('/api/experiments/:id/curves', async (context) => {
    const record = await readExperiment(store, context.req.param('id'));
    if (record === null) return context.json({ error: 'There is no such experiment.' }, 404);
    return context.json(await readCurves(store, record));
  });
  app.get('/api/experiments/:id/stream', async (context) => {
    const record = await readExperiment(store, context.req.param('id'));
    if (record === null) return context.json({ error: 'There is no such experiment.' }, 404);
    return streamSSE(context, async (stream) => {
      let last = context.req.header('last-event-id') ?? '';
      while (!stream.aborted) {
        const data = JSON.stringify(await readCurves(store, record));
        const id = createHash('sha256').update(data).digest('hex').slice(0, 16);
        if (id !== last) await stream.writeSSE({ event: 'curves', id, data });
        last = id;
        await sleep(LOOK_EVERY_MS);
      }
    });
  });

  const page = async () => readFile(path.join(WEB, 'index.html'), 'utf8');
  app.get('/', async (context) => context.html(await page()));
  app.get('/experiments/:id', async (context) => context.html(await page()));
  app.get('/assets/style.css', async (context) =>
    context.body(await readFile(path.join(WEB, 'style.css'), 'utf8'), 200, { 'content-type': 'text/css' }),
  );
  app.get('/assets/main.js', async (context) =>
    context.body(stripTypeScriptTypes(await readFile(path.join(WEB, 'main.ts'), 'utf8')), 200, {
      'content-type': 'text/javascript',
    }),
  );
  app.get('/assets/plotly.js', async (context) =>
    context.body(await readFile(PLOTLY, 'utf8'), 200, {
      'content-type': 'text/javascript',
      'cache-control': 'max-age=86400',
    }),
  );
  return app;
}
