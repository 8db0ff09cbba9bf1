import { existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { attach, isAlive, launch, logTail, type ProcessRecord, signalGroup, stop } from './processes.ts';

let record: string;
let log: string;
const started: ProcessRecord[] = [];

beforeEach(() => {
  const directory = mkdtempSync(path.join(os.tmpdir(), 'p2r-processes-'));
  record = path.join(directory, 'it.process.json');
  log = path.join(directory, 'it.log');
});

afterEach(() => {
  for (const { pid } of started.splice(0)) signalGroup(pid, 'SIGKILL');
});

async function start(script: string): Promise<ProcessRecord> {
  const process_ = await launch(record, { command: [process.execPath, '-e', script], log });
  started.push(process_);
  return process_;
}

async function gone(process_: ProcessRecord): Promise<void> {
  while (await isAlive(process_)) await new Promise((resolve) => setTimeout(resolve, 10));
}

const FOREVER = 'setInterval(() => {}, 1000); console.log("up");';

test('a running process is found again by its record, a dead one is not', async () => {
  const process_ = await start(FOREVER);
  expect(await attach(record)).toEqual(process_);
  signalGroup(process_.pid, 'SIGKILL');
  await gone(process_);
  expect(await attach(record)).toBeNull();
});

test('a pid that belongs to somebody else is never taken for ours', async () => {
  const process_ = await start(FOREVER);
  writeFileSync(record, JSON.stringify({ ...process_, started: '1' }));
  expect(await attach(record)).toBeNull();
  writeFileSync(record, 'torn');
  expect(await attach(record)).toBeNull();
});

test('stop ends the whole group and removes the record', async () => {
  const process_ = await start(
    `require('node:child_process').spawn(process.execPath, ['-e', ${JSON.stringify(FOREVER)}], { stdio: 'inherit' }); ${FOREVER}`,
  );
  while ((await logTail(log)).split('\n').length < 2) await new Promise((resolve) => setTimeout(resolve, 10));
  await stop(record, 5000);
  await gone(process_);
  expect(existsSync(record)).toBe(false);
});

test('a process that ignores SIGTERM is killed after its grace, and the wait beats', async () => {
  const process_ = await start(`process.on('SIGTERM', () => {}); ${FOREVER}`);
  while (!readFileSync(log, 'utf8').includes('up')) await new Promise((resolve) => setTimeout(resolve, 10));
  let beats = 0;
  await stop(record, 300, () => {
    beats++;
  });
  await gone(process_);
  expect(beats).toBeGreaterThan(0);
});

test('a process that was started meanwhile keeps its record', async () => {
  const first = await start(`process.on('SIGTERM', () => {}); ${FOREVER}`);
  while (!readFileSync(log, 'utf8').includes('up')) await new Promise((resolve) => setTimeout(resolve, 10));
  const stopping = stop(record, 500);
  const second = await start(FOREVER);
  await stopping;
  await gone(first);
  expect(await attach(record)).toEqual(second);
});

test('a program that is not there is a clear error', async () => {
  await expect(launch(record, { command: ['/no/such/program'], log })).rejects.toThrow(
    /\/no\/such\/program could not be started/,
  );
});
