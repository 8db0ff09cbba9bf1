/** Keeps the frozen role's server up for as long as the workflow wants it, whatever happens to the server or to the worker. */
import { randomBytes } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { ApplicationFailure } from '@temporalio/common';
import OpenAI from 'openai';
import { checkpointFault } from '../store/checkpoints.ts';
import { readJson, writeJson } from '../store/files.ts';
import type { Store } from '../store/layout.ts';
import type { Serving } from '../studies/study.ts';
import type { ModelRef } from '../workflows/types.ts';
import { modelDirectory, PROJECT, PYTHON, PYTHON_ENV } from './environment.ts';
import { diagnoseLog } from './failures.ts';
import { beating, cancelled, shouldDetach, untilCancelled } from './heartbeats.ts';
import { ownerDirectory, serviceFiles } from './phase-files.ts';
import { attach, isAlive, launch, logTail, type ProcessRecord, stop } from './processes.ts';
import { Endpoint } from './roles.ts';

export type ServeInput = { key: string; label: string; model: ModelRef; serving: Serving; threads: number };

const MAX_FAILED_STARTS = 3;
const START_TIMEOUT_MS = 15 * 60_000;

/** A port nobody listens on at the moment, on loopback. */
export async function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address();
      probe.close(() =>
        typeof address === 'object' && address ? resolve(address.port) : reject(new Error('no port')),
      );
    });
  });
}

type LaunchLine = { command: string[]; env: Record<string, string>; model: string };

function launchLine(
  serving: Serving,
  directory: string,
  port: number,
  token: string,
  threads: number,
): LaunchLine {
  const at = ['--host', '127.0.0.1', '--port', String(port)];
  const env = { ...PYTHON_ENV, OMP_NUM_THREADS: String(threads) };
  switch (serving.kind) {
    case 'transformers':
      return {
        command: [
          PYTHON,
          '-m',
          'transformers.cli.transformers',
          'serve',
          directory,
          '--device',
          'cpu',
          '--dtype',
          'float32',
          ...at,
        ],
        env,
        model: directory,
      };
    case 'embedded':
      return {
        command: [
          PYTHON,
          '-m',
          'p2r_engines.serve',
          '--model',
          directory,
          '--served-model-name',
          'frozen',
          '--threads',
          String(threads),
          ...at,
        ],
        env: { ...env, P2R_SERVE_TOKEN: token },
        model: 'frozen',
      };
    case 'vllm':
      return {
        command: [
          serving.python,
          '-m',
          'vllm.entrypoints.openai.api_server',
          '--model',
          directory,
          '--served-model-name',
          'frozen',
          ...at,
          ...serving.arguments,
        ],
        env: { ...env, VLLM_API_KEY: token, VLLM_NO_USAGE_STATS: '1' },
        model: 'frozen',
      };
    case 'endpoint':
      throw new TypeError('An existing endpoint is not launched.');
  }
}

/** Whether the server answers a one-token request for the model that was asked for. */
async function answers(endpoint: Endpoint): Promise<boolean> {
  const client = new OpenAI({
    baseURL: endpoint.url,
    apiKey: endpoint.token,
    maxRetries: 0,
    timeout: 30_000,
  });
  try {
    await client.chat.completions.create({
      model: endpoint.model,
      max_tokens: 1,
      temperature: 0,
      messages: [{ role: 'user', content: 'Hi' }],
    });
    return true;
  } catch {
    return false;
  }
}

/** Activity factory. */
export function createServingActivities(store: Store) {
  return {
    /** Serves `input.model` until cancelled. Fails (ServerUnstartable, ModelUnloadable) when the server cannot be brought up. */
    async serveModel(input: ServeInput): Promise<void> {
      const owner = ownerDirectory(store, input.key);
      const files = serviceFiles(owner);
      const directory = modelDirectory(store, input.model);
      const { serving } = input;
      using _beat = beating(() => ({ serving: input.label }));
      if (serving.kind === 'endpoint') {
        const endpoint = {
          url: serving.url,
          model: serving.model,
          token: process.env.P2R_ENDPOINT_TOKEN ?? 'none',
        };
        if (!(await answers(endpoint)))
          throw ApplicationFailure.nonRetryable(
            `${serving.url} does not answer for model "${serving.model}": check the address and the model's name.`,
            'ServerUnstartable',
          );
        await writeJson(files.modelEndpoint, endpoint, 0o600);
        await cancelled();
        return;
      }
      if (input.model.kind === 'phase') {
        const fault = await checkpointFault(directory);
        if (fault !== null)
          throw ApplicationFailure.nonRetryable(
            `The checkpoint to serve cannot be used: ${fault}. Rerun its phase.`,
            'ModelUnloadable',
          );
      }
      const supervise = async (signal: AbortSignal): Promise<void> => {
        for (let failedStarts = 0; !signal.aborted; ) {
          const up = await bringUp(input, directory, files, signal);
          if (signal.aborted) return;
          if (up === null) {
            failedStarts++;
            const tail = await logTail(files.modelLog);
            const reason = tail.split('\n').at(-1) ?? '';
            if (failedStarts >= MAX_FAILED_STARTS) {
              const recognised = await diagnoseLog(files.modelLog, '');
              const why =
                recognised === null ? reason.slice(0, 300) : `${recognised.evidence} ${recognised.advice}`;
              throw ApplicationFailure.create({
                type: 'ServerUnstartable',
                nonRetryable: true,
                message: `The server for ${input.label} did not start (${why}); see ${files.modelLog}.`,
                details: [recognised, tail],
              });
            }
            continue;
          }
          failedStarts = 0;
          while (!signal.aborted && (await isAlive(up))) await sleep(300);
          if (signal.aborted) return;
          await rm(files.modelEndpoint, { force: true });
        }
      };
      try {
        await untilCancelled(supervise);
      } finally {
        if (!shouldDetach()) {
          await stop(files.modelRecord, 5000);
          await rm(files.modelEndpoint, { force: true });
        }
      }
    },
  };
}

/** Attaches to the recorded server or starts one; resolves when it answers, or with null when it died or took too long. */
async function bringUp(
  input: ServeInput,
  directory: string,
  files: ReturnType<typeof serviceFiles>,
  signal: AbortSignal,
): Promise<ProcessRecord | null> {
  const running = await attach(files.modelRecord);
  const known = await readJson(files.modelEndpoint, Endpoint).catch(() => null);
  if (running !== null && known !== null) {
    for (let attempt = 0; attempt < 3; attempt++) if (await answers(known)) return running;
  }
  await stop(files.modelRecord, 2000);
  const port = await freePort();
  const token = randomBytes(16).toString('hex');
  const line = launchLine(input.serving, directory, port, token, input.threads);
  const record = await launch(files.modelRecord, {
    command: line.command,
    env: line.env,
    cwd: PROJECT,
    log: files.modelLog,
  });
  const endpoint = { url: `http://127.0.0.1:${port}/v1`, model: line.model, token };
  const deadline = Date.now() + START_TIMEOUT_MS;
  while (Date.now() < deadline && !signal.aborted) {
    if (!(await isAlive(record))) return null;
    if (await answers(endpoint)) {
      await writeJson(files.modelEndpoint, endpoint, 0o600);
      return record;
    }
    await sleep(200);
  }
  await stop(files.modelRecord, 2000);
  return null;
}
