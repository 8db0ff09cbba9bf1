/**
 * The dashboard's process: `dashboard-main.ts --home DIR [--port N] [--listen ADDRESS] [--allow-host NAME]... [--ready-file PATH]`. It
 * listens on 127.0.0.1 unless told otherwise; elsewhere looking needs the token as well.
 */
import { parseArgs } from 'node:util';
import { serve } from '@hono/node-server';
import { z } from 'zod';
import { createDashboard } from '../../dashboards/server/app.ts';
import { loadPage } from '../../dashboards/server/page-files.ts';
import { writeJson } from '../../store/files.ts';
import { openStore } from '../../store/layout.ts';
import { dashboardToken } from './dashboard-token.ts';
import { createGateClient } from './gate-client.ts';
import { surviveFullDisk } from './output.ts';
import { createSystemSource } from './system-source.ts';

surviveFullDisk();

const USAGE =
  'Usage: dashboard-main.ts --home DIR [--port 0-65535] [--listen ADDRESS] [--allow-host NAME] [--ready-file PATH]';

const Options = z.object({
  home: z.string().min(1),
  port: z.coerce.number().int().min(0).max(65_535).default(0),
  listen: z.string().min(1).default('127.0.0.1'),
  'allow-host': z.array(z.string().min(1)).default([]),
  'ready-file': z.string().min(1).optional(),
});

function options(): z.infer<typeof Options> {
  try {
    const { values } = parseArgs({
      options: {
        home: { type: 'string' },
        port: { type: 'string' },
        listen: { type: 'string' },
        'allow-host': { type: 'string', multiple: true },
        'ready-file': { type: 'string' },
      },
    });
    return Options.parse(values);
  } catch (error) {
    if (!(error instanceof z.ZodError) && !(error instanceof TypeError)) throw error;
    return fail(USAGE, 2);
  }
}

function fail(message: string, code: number): never {
  console.error(message);
  process.exit(code);
}

const { home, port, listen, 'allow-host': allowedHosts, 'ready-file': readyFile } = options();
const store = openStore(home);
const page = await loadPage().catch((error: Error) => fail(error.message, 1));
const system = createSystemSource(store);
const dashboard = createDashboard({
  home,
  page,
  gate: createGateClient(store),
  system,
  allowedHosts: [...allowedHosts, ...(/^127\.|^::1$|^localhost$/.test(listen) ? [] : [listen])],
  token: await dashboardToken(store),
  tokenToLook: !/^127\.|^::1$|^localhost$/.test(listen),
});
const server = serve({ fetch: dashboard.app.fetch, hostname: listen, port }, (address) => {
  if (readyFile === undefined) return;
  writeJson(readyFile, { url: `http://127.0.0.1:${address.port}`, pid: process.pid }).catch((error: Error) =>
    fail(`The ready file ${readyFile} could not be written: ${error.message}.`, 1),
  );
});
server.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EADDRINUSE')
    fail(`Port ${port} is taken: choose another with --port, or 0 for a free one.`, 1);
  fail(`The dashboard cannot listen on ${listen}:${port}: ${error.message}.`, 1);
});

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.once(signal, () => {
    dashboard.close();
    void system.close();
    server.close(() => process.exit(0));
    if ('closeAllConnections' in server) server.closeAllConnections();
  });
}
