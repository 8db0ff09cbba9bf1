import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { Pulse } from './pulse.ts';

const servers: Server[] = [];

afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

/** A server that answers its n-th request (from 1) when `answers(n)`, and otherwise hangs. */
async function serverThat(answers: (request: number) => boolean): Promise<{ url: URL; asked: () => number }> {
  let asked = 0;
  const server = createServer((_, response) => {
    asked++;
    if (answers(asked)) response.writeHead(503).end('busy');
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { url: new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`), asked: () => asked };
}

test('a server that hangs is lost after three questions, and not before', async () => {
  const { url, asked } = await serverThat(() => false);
  const pulse = new Pulse(url, { interval: 1, patience: 50 });
  while (!pulse.isLost) await new Promise((resolve) => setTimeout(resolve, 5));
  expect(asked()).toBeGreaterThanOrEqual(3);
});

test('any answer in time counts, also after two that did not come', async () => {
  const { url, asked } = await serverThat((request) => request % 3 === 0);
  const pulse = new Pulse(url, { interval: 1, patience: 50 });
  while (asked() < 9) {
    expect(pulse.isLost).toBe(false);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
});
