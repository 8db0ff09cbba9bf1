import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import { handOver, requestBody } from './endpoint.ts';

test('a body that is handed over arrives whole and is let go of at once', async () => {
  const server = createServer(async (request, response) => response.end(await buffer(request)));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const body = Buffer.from(new ArrayBuffer(3_000_000)).fill('body');
  const kept = Buffer.from(body);
  const answer = handOver(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`, {
    method: 'POST',
    body,
  });
  expect(body.byteLength).toBe(0);
  expect(kept.equals(Buffer.from(await (await answer).arrayBuffer()))).toBe(true);
  server.close();
});

test('the body is the JSON it stands for, images and all', () => {
  const jpeg = Buffer.concat([Buffer.from([0xff, 0xd8, 0xff]), Buffer.alloc(150_001, 'x')]);
  const png = Buffer.from([0x89, 0x50, 0x4e, 0x47, 1, 2, 3, 4]);
  const body = requestBody('m', {
    to: 'reasoner',
    messages: [
      { role: 'system', parts: ['You are "helpful".'] },
      {
        role: 'user',
        parts: [{ bytes: jpeg, width: 1, height: 1 }, { bytes: png, width: 1, height: 1 }, 'Was? é\n中'],
      },
    ],
    decoding: { max_tokens: 5, temperature: 0, top_k: 20, stop: ['</code>'], top_logprobs: 3 },
  });
  expect(JSON.parse(body.toString('utf8'))).toEqual({
    model: 'm',
    messages: [
      { role: 'system', content: 'You are "helpful".' },
      {
        role: 'user',
        content: [
          { type: 'image_url', image_url: { url: `data:image/jpeg;base64,${jpeg.toString('base64')}` } },
          { type: 'image_url', image_url: { url: `data:image/png;base64,${png.toString('base64')}` } },
          { type: 'text', text: 'Was? é\n中' },
        ],
      },
    ],
    max_tokens: 5,
    temperature: 0,
    top_k: 20,
    stop: ['</code>'],
    logprobs: true,
    top_logprobs: 3,
  });
});
