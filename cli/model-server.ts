/** The embedded model server for as long as one command needs it. */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { PROJECT, PYTHON, PYTHON_ENV } from '../activities/environment.ts';
import type { Endpoint } from '../evaluation/endpoint.ts';
import { EXIT, UserError } from './errors.ts';

const Ready = z.object({ url: z.string(), model: z.string() });

/** A running server; disposing of it ends the process. */
export type ModelServer = AsyncDisposable & { endpoint: Endpoint };

/** Serves a Qwen3-VL directory on loopback. Throws a UserError with the server's last words when it does not start. */
export async function serveDirectory(directory: string, threads: number): Promise<ModelServer> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'p2r-serve-'));
  const readyFile = path.join(folder, 'ready.json');
  const token = randomBytes(16).toString('hex');
  const args = ['-m', 'p2r_engines.serve', '--model', directory, '--served-model-name', 'evaluated'];
  const child = spawn(PYTHON, [...args, '--threads', String(threads), '--ready-file', readyFile], {
    cwd: PROJECT,
    env: { ...process.env, ...PYTHON_ENV, P2R_SERVE_TOKEN: token },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let words = '';
  child.stderr.on('data', (chunk: Buffer) => {
    words = (words + chunk.toString()).slice(-2000);
  });
  const ended = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
    child.once('error', (error) => {
      words = error.message;
      resolve();
    });
  });
  let over = false;
  void ended.then(() => {
    over = true;
  });
  const stop = async () => {
    if (!over) child.kill('SIGTERM');
    await ended;
    await rm(folder, { recursive: true, force: true });
  };
  while (!over) {
    const ready = await readFile(readyFile, 'utf8').catch(() => null);
    if (ready !== null) {
      const { url, model } = Ready.parse(JSON.parse(ready));
      return { endpoint: { url: `${url}/v1`, model, token }, [Symbol.asyncDispose]: stop };
    }
    await sleep(50);
  }
  await stop();
  throw new UserError(
    `The model in ${directory} could not be served: ${words.trim().split('\n').at(-1) ?? 'no reason given'}`,
    EXIT.failed,
  );
}
