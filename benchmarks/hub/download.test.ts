import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, statSync, watch, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type DownloadOptions, downloadDataset, HubError } from './download.ts';

const SHA = 'a'.repeat(40);
const big = Buffer.alloc(300_000, 'image');
const small = Buffer.from('{"question": 1}\n');

/** What the stand-in of the hub does with the next request for a file. */
let cut: number | null;
let requests: { url: string; range: string | undefined; authorization: string | undefined }[];
let content: Buffer;
let listing: object;
let endpoint: string;
let folder: string;
const server = createServer((request, response) => serve(request, response));

function serve(request: IncomingMessage, response: ServerResponse): void {
  const { url = '', headers } = request;
  requests.push({ url, range: headers.range, authorization: headers.authorization });
  if (url.startsWith('/api/datasets/closed/')) return void response.writeHead(401).end();
  if (url.startsWith('/api/datasets/who/set/revision/'))
    return void response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(listing));
  if (!url.startsWith(`/datasets/who/set/resolve/${SHA}/`)) return void response.writeHead(404).end();
  const file = url.endsWith('rows.jsonl') ? small : content;
  const from = Number(/bytes=(\d+)-/.exec(headers.range ?? '')?.[1] ?? 0);
  const rest = file.subarray(from);
  response.writeHead(from > 0 ? 206 : 200, { 'content-length': rest.length });
  if (cut !== null && file === content) {
    const length = cut;
    cut = null;
    response.write(rest.subarray(0, length));
    // A reset drops what the client has not read yet: the cut comes once it is on the disk.
    whenWritten(path.join(folder, 'data/a b.bin.part'), length, () => response.destroy());
    return;
  }
  response.end(rest);
}

function whenWritten(file: string, bytes: number, then: () => void): void {
  const watcher = watch(path.dirname(file), look);
  function look() {
    if ((statSync(file, { throwIfNoEntry: false })?.size ?? 0) < bytes) return;
    watcher.close();
    then();
  }
  look();
}

const options = (): DownloadOptions => ({
  endpoint,
  repository: 'who/set',
  revision: 'main',
  files: ['data/', 'rows.jsonl'],
  folder,
  pause: 1,
});

beforeEach(async () => {
  [cut, requests, content] = [null, [], big];
  const gitId = createHash('sha1').update(`blob ${small.length}\0`).update(small).digest('hex');
  listing = {
    sha: SHA,
    siblings: [
      { rfilename: 'README.md', size: 3, blobId: 'x' },
      { rfilename: 'rows.jsonl', size: small.length, blobId: gitId },
      {
        rfilename: 'data/a b.bin',
        size: big.length,
        blobId: 'y',
        lfs: { sha256: createHash('sha256').update(big).digest('hex'), size: big.length },
      },
    ],
  };
  folder = path.join(mkdtempSync(path.join(os.tmpdir(), 'p2r-hub-')), 'set');
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  endpoint = `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`;
});
afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

test('the files asked for, checked, with the commit that the branch named', async () => {
  const record = await downloadDataset({ ...options(), token: 'secret' });
  expect(record.revision).toBe(SHA);
  expect(readFileSync(path.join(folder, 'data/a b.bin'))).toEqual(big);
  expect(readFileSync(path.join(folder, 'rows.jsonl'))).toEqual(small);
  expect(existsSync(path.join(folder, 'README.md'))).toBe(false);
  expect(requests.every(({ authorization }) => authorization === 'Bearer secret')).toBe(true);
  expect(readFileSync(path.join(folder, 'download.json'), 'utf8')).not.toContain('secret');
});

test('a connection that breaks goes on where it ended, also in another process', async () => {
  cut = 100_000;
  await downloadDataset(options());
  expect(requests.filter(({ range }) => range !== undefined).map(({ range }) => range)).toEqual([
    'bytes=100000-',
  ]);
  expect(readFileSync(path.join(folder, 'data/a b.bin'))).toEqual(big);
  writeFileSync(path.join(folder, 'data/a b.bin.part'), big.subarray(0, 1234));
  writeFileSync(path.join(folder, 'data/a b.bin'), 'damaged');
  await downloadDataset(options());
  expect(requests.at(-1)?.range ?? requests.at(-2)?.range).toBe('bytes=1234-');
  expect(readFileSync(path.join(folder, 'data/a b.bin'))).toEqual(big);
});

test('what is there and whole is not fetched again, and the branch stays pinned', async () => {
  await downloadDataset(options());
  requests = [];
  await downloadDataset(options());
  expect(requests.map(({ url }) => url)).toEqual([`/api/datasets/who/set/revision/${SHA}?blobs=true`]);
});

test('wrong content is deleted and named; nothing is taken without a checksum', async () => {
  content = Buffer.alloc(big.length, 'other');
  await expect(downloadDataset(options())).rejects.toThrow(/data\/a b\.bin has sha256:.* and should have/);
  expect(existsSync(path.join(folder, 'data/a b.bin'))).toBe(false);
  expect(existsSync(path.join(folder, 'data/a b.bin.part'))).toBe(false);
  listing = { sha: SHA, siblings: [{ rfilename: 'rows.jsonl' }] };
  await expect(downloadDataset(options())).rejects.toThrow(/no checksum of rows\.jsonl/);
});

test('a path that leaves the folder, a closed set, an unknown one', async () => {
  listing = { sha: SHA, siblings: [{ rfilename: 'data/../../x', size: 1, blobId: 'z' }] };
  await expect(downloadDataset(options())).rejects.toThrow(/leaves/);
  await expect(downloadDataset({ ...options(), repository: 'closed/set' })).rejects.toThrow(/HF_TOKEN/);
  await expect(downloadDataset({ ...options(), repository: 'no/set' })).rejects.toThrow(HubError);
});
