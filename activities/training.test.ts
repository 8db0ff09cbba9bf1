import { mkdtempSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { expect, test, vi } from 'vitest';
import { openStore } from '../store/layout.ts';
import { planExperiment } from '../studies/plan.ts';
import quickstart from '../studies/tiny-quickstart.ts';
import type { PhasePlan } from '../workflows/types.ts';
import { throwIfStuck } from './training.ts';

type Ended = { log?: string; error?: { type: string; message: string }; stepped?: boolean };

/** A phase whose attempts ended like this; tells whether another one follows. */
async function after(...attempts: Ended[]): Promise<void> {
  vi.spyOn(console, 'error').mockImplementation(() => undefined);
  const store = openStore(mkdtempSync(path.join(os.tmpdir(), 'p2r-training-')));
  const phase = planExperiment(quickstart, 'e', 'model-1').phases[0] as PhasePlan;
  for (const [index, { log, error, stepped }] of attempts.entries()) {
    const directory = store.attempt(phase.key, index + 1);
    await mkdir(directory, { recursive: true });
    await writeFile(path.join(directory, 'log.txt'), log ?? '');
    if (error !== undefined)
      await writeFile(path.join(directory, 'error.json'), JSON.stringify({ ...error, detail: 'trace' }));
    if (stepped) await writeFile(path.join(directory, 'metrics.jsonl'), '');
  }
  await throwIfStuck(store, phase, attempts.length);
}

const unknown = { error: { type: 'Unknown', message: 'KeyError: 3' } };
const killed: Ended = {};

test('a killed trainer is followed by another, but not for ever', async () => {
  await after(killed);
  await after(killed, killed, killed, killed, killed);
  await after(killed, killed, killed, { stepped: true }, killed, killed, killed);
  await expect(after(killed, killed, killed, killed, killed, killed)).rejects.toMatchObject({
    type: 'TrainerFailed',
    nonRetryable: true,
  });
});

test('three errors in a row before a first step end the phase with the last sentence', async () => {
  await after(unknown, unknown);
  await after(unknown, unknown, { ...unknown, stepped: true }, unknown);
  await expect(after(unknown, unknown, unknown)).rejects.toMatchObject({
    type: 'TrainerFailed',
    message: expect.stringContaining('KeyError: 3'),
  });
});

test('a recognised failure has its type, advice and values to try', async () => {
  const memory = 'torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.32 GiB.';
  await expect(after({ log: memory, ...unknown })).rejects.toMatchObject({
    type: 'CudaOutOfMemory',
    details: [{ kind: 'CudaOutOfMemory', evidence: memory, overrides: { ppo_micro_batch_size: 4 } }, 'trace'],
  });
  await expect(
    after({ error: { type: 'DiskFull', message: 'no space left on the disk' } }),
  ).rejects.toMatchObject({ type: 'DiskFull' });
});

test('a lost node is waited out: the next attempt resumes', async () => {
  const log = 'ray.exceptions.ActorDiedError: The actor is dead because its node has died. Node Id: 8c3e1f';
  await after({ log, ...unknown });
  await expect(after({ log, ...unknown }, { log, ...unknown }, { log, ...unknown })).rejects.toMatchObject({
    type: 'NodeLost',
  });
});
