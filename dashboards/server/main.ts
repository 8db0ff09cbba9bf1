/** Process entry: `node dashboards/server/main.ts --home DIR --port N --ready-file PATH`. Binds loopback only. */
import { parseArgs } from 'node:util';
import { serve } from '@hono/node-server';
import { writeJson } from '../../store/files.ts';
import { openStore } from '../../store/layout.ts';
import { createDashboard } from './app.ts';

const { values } = parseArgs({
  options: {
    home: { type: 'string' },
    port: { type: 'string', default: '0' },
    'ready-file': { type: 'string' },
  },
});
if (values.home === undefined) throw new Error('Usage: main.ts --home DIR [--port N] [--ready-file PATH]');
const readyFile = values['ready-file'];
const server = serve(
  { fetch: createDashboard(openStore(values.home)).fetch, hostname: '127.0.0.1', port: Number(values.port) },
  (address) => {
    if (readyFile !== undefined)
      void writeJson(readyFile, { url: `http://127.0.0.1:${address.port}`, pid: process.pid });
  },
);
process.once('SIGTERM', () => {
  server.close();
  process.exit(0);
});
