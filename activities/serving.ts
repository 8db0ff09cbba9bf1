/** Keeps the frozen role's server up for as long as the workflow wants it, whatever happens to the server or to the worker. */
import { randomBytes } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import path from 'node:path';
import { ApplicationFailure } from '@temporalio/common';
import OpenAI from 'openai';
import { z } from 'zod';
import type { ServingLimits } from '../method/serving-limits.ts';
import { JsonLinesWriter, readJson, writeJson } from '../store/files.ts';
import type { Store } from '../store/layout.ts';
import type { Serving } from '../studies/study.ts';
import type { ModelRef } from '../workflows/types.ts';
import { modelDirectory, PROJECT, PYTHON, PYTHON_ENV } from './environment.ts';
import { diagnoseLog } from './failures.ts';
import { allOrNone, beating, cancelled, pause, shouldDetach, untilCancelled } from './heartbeats.ts';
import { requireWhole } from './integrity.ts';
import { ownerDirectory, serviceFiles } from './phase-files.ts';
import { attach, isAlive, launch, logTail, type ProcessRecord, stop } from './processes.ts';
import { Pulse } from './pulse.ts';
import { Endpoint } from './roles.ts';
import { gpuGroups, scrapeVllm, vllmArguments, vllmEnvironment, vllmFault, vllmSleeps } from './vllm.ts';

/** `key` owns the server; a second model of the same owner is its `part`. */
export type ServeInput = {
  key: string;
  part?: 'perceiver';
  label: string;
  model: ModelRef;
  serving: Serving;
  threads: number;
  limits: ServingLimits;
};

const MAX_FAILED_STARTS = 3;
/** How long a server may take until it answers: gigabytes are read and compiled for; the embedded one takes ten seconds. */
const startTimeout = (kind: Serving['kind']) => (kind === 'embedded' ? 90_000 : 15 * 60_000);

/** Time between two looks at a vLLM server's load, which is kept with the run. */
const LOAD_INTERVAL_MS = 5000;

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
  { serving, threads, limits }: ServeInput,
  directory: string,
  gpus: number[],
  port: number,
  token: string,
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
    case 'vllm': {
      const place = { directory, name: 'frozen', host: '127.0.0.1', port };
      return {
        command: [
          path.resolve(PROJECT, serving.python),
          '-m',
          'vllm.entrypoints.openai.api_server',
          ...vllmArguments(serving, limits, place),
        ],
        env: { ...env, ...vllmEnvironment(gpus, token, serving.sleep_seconds !== undefined) },
        model: 'frozen',
      };
    }
    case 'endpoint':
      throw new TypeError('An existing endpoint is not launched.');
  }
}

/** Whether the server passes its gates and answers a one-token request for the model that was asked for. */
async function answers(endpoint: Endpoint, kind: Serving['kind']): Promise<boolean> {
  if (kind === 'vllm' && (await vllmFault(endpoint)) !== null) return false;
  // Whoever asks it wakes it; here its memory may be the trainer's.
  if (endpoint.sleep_seconds !== undefined && (await vllmSleeps(endpoint.url))) return true;
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
    /** Serves `input.model` until cancelled. Fails (ServerUnstartable) when the server cannot be brought up, and (InputDamaged) when the checkpoint is damaged. */
    async serveModel(input: ServeInput): Promise<void> {
      const owner = path.join(ownerDirectory(store, input.key), input.part ?? '');
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
        if (!(await answers(endpoint, serving.kind)))
          throw ApplicationFailure.nonRetryable(
            `${serving.url} does not answer for model "${serving.model}": check the address and the model's name.`,
            'ServerUnstartable',
          );
        await writeJson(files.modelEndpoint, endpoint, 0o600);
        await cancelled();
        return;
      }
      const groups = serving.kind === 'vllm' ? gpuGroups(serving) : [[]];
      const published = new PublishedServers(files.modelEndpoint, groups.length);
      const token =
        (await readJson(files.model(0).endpoint, Endpoint).catch(() => null))?.token ??
        randomBytes(16).toString('hex');
      const supervise = (signal: AbortSignal) =>
        allOrNone(groups, signal, (gpus, server, each) =>
          keepUp({ input, directory, gpus, server, files: files.model(server), published, token }, each),
        );
      try {
        await untilCancelled(supervise);
      } finally {
        if (!(await shouldDetach())) {
          await Promise.all(groups.map((_, server) => stop(files.model(server).record, 5000)));
          await rm(files.modelEndpoint, { force: true });
        }
      }
    },
  };
}

/** One server among those of a model. */
type Replica = {
  input: ServeInput;
  directory: string;
  gpus: number[];
  server: number;
  files: ReturnType<ReturnType<typeof serviceFiles>['model']>;
  published: PublishedServers;
  /** The same for all servers of a model, as clients have one. */
  token: string;
};

/** The endpoint file of a model: the servers that are up, absent while none is. */
class PublishedServers {
  readonly #file: string;
  readonly #up: (Endpoint | null)[];
  #tail: Promise<void> = Promise.resolve();

  constructor(file: string, servers: number) {
    this.#file = file;
    this.#up = new Array<Endpoint | null>(servers).fill(null);
  }

  /** Publishes that a server is up at an endpoint, or down. */
  set(server: number, endpoint: Endpoint | null): Promise<void> {
    this.#up[server] = endpoint;
    const next = this.#tail.then(async () => {
      const up = this.#up.filter((one) => one !== null);
      const [first] = up;
      if (first === undefined) await rm(this.#file, { force: true });
      else await writeJson(this.#file, { ...first, urls: up.map(({ url }) => url) }, 0o600);
    });
    this.#tail = next.catch(() => undefined);
    return next;
  }
}

/** How a server's load is read, by kind; null where it does not answer. */
const LOADS: Partial<Record<Serving['kind'], (endpoint: Endpoint) => Promise<object | null>>> = {
  vllm: (endpoint) => scrapeVllm(endpoint),
  embedded: readEmbeddedLoad,
};

const EmbeddedLoad = z.object({ running: z.int().nonnegative(), waiting: z.int().nonnegative() });

async function readEmbeddedLoad(endpoint: Endpoint): Promise<z.infer<typeof EmbeddedLoad> | null> {
  const response = await fetch(new URL('/load', endpoint.url), {
    headers: { authorization: `Bearer ${endpoint.token}` },
    signal: AbortSignal.timeout(5000),
  }).catch(() => null);
  return EmbeddedLoad.safeParse(await response?.json().catch(() => null)).data ?? null;
}

/** Keeps one server up until the signal. Throws ServerUnstartable when it does not start again and again. */
async function keepUp(replica: Replica, signal: AbortSignal): Promise<void> {
  const { input, files, server, published } = replica;
  for (let failedStarts = 0; !signal.aborted; ) {
    const up = await bringUp(replica, signal);
    if (signal.aborted) return;
    if (up === null) {
      failedStarts++;
      const tail = await logTail(files.log);
      const reason = tail.split('\n').at(-1) ?? '';
      if (failedStarts >= MAX_FAILED_STARTS) {
        const recognised = await diagnoseLog(files.log, '');
        const why =
          recognised === null ? reason.slice(0, 300) : `${recognised.evidence} ${recognised.advice}`;
        throw ApplicationFailure.create({
          type: 'ServerUnstartable',
          nonRetryable: true,
          message: `The server for ${input.label} did not start (${why}); see ${files.log}.`,
          details: [recognised, tail],
        });
      }
      continue;
    }
    failedStarts = 0;
    await published.set(server, up.endpoint);
    const loads = new JsonLinesWriter(files.load);
    const pulse = new Pulse(new URL('/health', up.endpoint.url));
    for (let looked = 0; !signal.aborted && (await isAlive(up.record)); await pause(1000, signal)) {
      if (pulse.isLost) {
        console.error(`The server for ${input.label} does not answer any more: it is started again.`);
        await published.set(server, null);
        await stop(files.record, 2000);
        break;
      }
      const readLoad = LOADS[input.serving.kind];
      if (readLoad === undefined || Date.now() - looked < LOAD_INTERVAL_MS) continue;
      looked = Date.now();
      const load = await readLoad(up.endpoint);
      if (load !== null) await loads.append({ time: looked / 1000, ...load });
    }
    if (signal.aborted) return;
    await published.set(server, null);
  }
}

/** Attaches to the recorded server or starts one; resolves when it answers, or with null when it died or took too long. */
async function bringUp(
  { input, directory, gpus, files, token }: Replica,
  signal: AbortSignal,
): Promise<{ record: ProcessRecord; endpoint: Endpoint } | null> {
  const { serving } = input;
  const { kind } = serving;
  const running = await attach(files.record);
  const known = await readJson(files.endpoint, Endpoint).catch(() => null);
  if (running !== null && known !== null && known.token === token) {
    for (let attempt = 0; attempt < 3; attempt++)
      if (await answers(known, kind)) return { record: running, endpoint: known };
  }
  await stop(files.record, 2000);
  await requireWhole(input.model, directory);
  const port = await freePort();
  const line = launchLine(input, directory, gpus, port, token);
  const record = await launch(files.record, {
    command: line.command,
    env: line.env,
    cwd: PROJECT,
    log: files.log,
  });
  const endpoint = {
    url: `http://127.0.0.1:${port}/v1`,
    model: line.model,
    token,
    ...(serving.kind === 'vllm' && { sleep_seconds: serving.sleep_seconds }),
  };
  const deadline = Date.now() + startTimeout(kind);
  while (Date.now() < deadline && !signal.aborted) {
    if (!(await isAlive(record))) return null;
    if (await answers(endpoint, kind)) {
      await writeJson(files.endpoint, endpoint, 0o600);
      return { record, endpoint };
    }
    await pause(200, signal);
  }
  // Whoever ended the wait decides what becomes of the server: it may be another attempt's already.
  if (!signal.aborted) await stop(files.record, 2000);
  return null;
}
