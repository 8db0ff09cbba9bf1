import { existsSync, mkdtempSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { MockActivityEnvironment } from '@temporalio/testing';
import { expect, test, vi } from 'vitest';
import { readJson } from '../store/files.ts';
import { openStore } from '../store/layout.ts';
import { Serving } from '../studies/study.ts';
import { serviceFiles } from './phase-files.ts';
import { attach, isAlive } from './processes.ts';
import { Endpoint } from './roles.ts';
import { createServingActivities, type ServeInput } from './serving.ts';

const STAND_IN = path.join(import.meta.dirname, 'fixtures', 'vllm-stand-in.py');
const KEY = 'perceiver-0123456789abcdef01234567';

function prepare(settings: object) {
  const store = openStore(mkdtempSync(path.join(os.tmpdir(), 'p2r-serving-')));
  const input: ServeInput = {
    key: KEY,
    label: 'frozen for a test',
    model: { kind: 'directory', directory: 'models/tiny', key: 'm', name: 'base' },
    serving: Serving.parse({ kind: 'vllm', python: STAND_IN, ...settings }),
    threads: 1,
    limits: { context: 4096, images: 1, concurrency: 16 },
  };
  return { files: serviceFiles(store.phase(KEY)), activities: createServingActivities(store), input };
}

async function until(true_: () => Promise<boolean>): Promise<void> {
  while (!(await true_())) await sleep(50);
}

test('two servers of one model are one endpoint; a dead one is started again; a cancel ends both', async () => {
  const { files, activities, input } = prepare({ gpus: [4, 5] });
  const environment = new MockActivityEnvironment();
  const serving = environment.run(activities.serveModel, input);
  const endpoint = () => readJson(files.modelEndpoint, Endpoint);
  const servers = async () => (await endpoint())?.urls?.length ?? 0;
  await until(async () => (await servers()) === 2);

  const first = await endpoint();
  const answers = await Promise.all(
    (first?.urls ?? []).map(async (url) => {
      const response = await fetch(`${url}/chat/completions`, {
        method: 'POST',
        headers: { authorization: `Bearer ${first?.token}` },
        body: '{}',
      });
      return ((await response.json()) as { choices: [{ message: { content: string } }] }).choices[0].message
        .content;
    }),
  );
  expect(answers.toSorted()).toEqual(['GPU 4', 'GPU 5']);

  const victim = await attach(files.model(1).record);
  process.kill(victim?.pid ?? 0, 'SIGKILL');
  await until(async () => (await servers()) === 1);
  await until(async () => (await servers()) === 2);
  expect((await endpoint())?.token).toBe(first?.token);

  await until(async () => existsSync(files.model(0).load));
  const load = JSON.parse((await readFile(files.model(0).load, 'utf8')).split('\n')[0] ?? '');
  expect(load).toMatchObject({ running: 1, waiting: 1, generation_tokens: 1 });

  const records = [await attach(files.model(0).record), await attach(files.model(1).record)];
  environment.cancel();
  await expect(serving).rejects.toThrow();
  expect(await endpoint()).toBeNull();
  for (const record of records) expect(record !== null && (await isAlive(record))).toBe(false);
}, 60_000);

test('a server that never starts ends the phase with what its log gave away', async () => {
  vi.spyOn(console, 'error').mockImplementation(() => undefined);
  const { activities, input } = prepare({ python: '/bin/false', gpus: [0] });
  await expect(new MockActivityEnvironment().run(activities.serveModel, input)).rejects.toMatchObject({
    type: 'ServerUnstartable',
    nonRetryable: true,
  });
}, 60_000);
