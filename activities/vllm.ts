/** vLLM: its launch line, the gates a server passes before it is used, and what its metrics say. */
import { z } from 'zod';
import type { ServingLimits } from '../method/serving-limits.ts';
import type { Serving } from '../studies/study.ts';

type VllmServing = Extract<Serving, { kind: 'vllm' }>;

/** Groups of GPUs, one a server; one group of "whatever the process sees" when none are named. */
export function gpuGroups({ gpus, tensor_parallel }: VllmServing): number[][] {
  if (gpus.length === 0) return [[]];
  return Array.from({ length: Math.floor(gpus.length / tensor_parallel) }, (_, group) =>
    gpus.slice(group * tensor_parallel, (group + 1) * tensor_parallel),
  );
}

/**
 * Arguments of `python -m vllm.entrypoints.openai.api_server` for one server. Images come resized, so the processor's own limits stay;
 * its cache is off, because every evidence image is seen once. The study's own arguments come last and win.
 */
export function vllmArguments(
  serving: VllmServing,
  limits: ServingLimits,
  at: { directory: string; name: string; host: string; port: number },
): string[] {
  return [
    ...['--model', at.directory, '--served-model-name', at.name],
    ...['--host', at.host, '--port', String(at.port)],
    ...['--dtype', 'bfloat16', '--seed', '0', '--generation-config', 'vllm'],
    ...['--max-model-len', String(limits.context), '--max-num-seqs', String(limits.concurrency)],
    ...['--limit-mm-per-prompt', JSON.stringify({ image: limits.images, video: 0 })],
    ...['--mm-processor-cache-gb', '0'],
    ...['--tensor-parallel-size', String(serving.tensor_parallel)],
    ...['--gpu-memory-utilization', String(serving.gpu_memory_utilization)],
    ...(serving.sleep_seconds === undefined ? [] : ['--enable-sleep-mode']),
    ...serving.arguments,
  ];
}

/** Environment of one server: its GPUs, its key, no phoning home. A server that shall sleep answers requests to do so in vLLM's dev mode only. */
export function vllmEnvironment(gpus: number[], token: string, sleeps = false): Record<string, string> {
  return {
    ...(sleeps && { VLLM_SERVER_DEV_MODE: '1' }),
    VLLM_API_KEY: token,
    VLLM_NO_USAGE_STATS: '1',
    DO_NOT_TRACK: '1',
    ...(gpus.length === 0 ? {} : { CUDA_VISIBLE_DEVICES: gpus.join(',') }),
  };
}

const Models = z.object({ data: z.array(z.looseObject({ id: z.string() })) });

/**
 * Why a server may not be used yet, or null: its engine must be healthy and it must serve the model that was asked for (a server left over
 * from another phase answers, too).
 */
export async function vllmFault(
  endpoint: { url: string; model: string; token: string },
  request: typeof fetch = fetch,
): Promise<string | null> {
  const headers = { authorization: `Bearer ${endpoint.token}` };
  const signal = AbortSignal.timeout(10_000);
  try {
    const health = await request(new URL('/health', endpoint.url), { headers, signal });
    if (!health.ok) return `its /health says ${health.status}`;
    const models = await request(new URL('/v1/models', endpoint.url), { headers, signal });
    if (!models.ok) return `its /v1/models says ${models.status}`;
    const served = Models.parse(await models.json()).data.map(({ id }) => id);
    return served.includes(endpoint.model) ? null : `it serves ${served.join(', ')}, not ${endpoint.model}`;
  } catch (error) {
    return `it does not answer (${error instanceof Error ? error.message : error})`;
  }
}

/** Load of a vLLM server: requests running and waiting, share of the KV cache in use (0 to 1), and tokens since it started. */
export type VllmLoad = {
  running: number;
  waiting: number;
  kv_cache_usage: number;
  preemptions: number;
  prompt_tokens: number;
  generation_tokens: number;
};

const Sleeping = z.object({ is_sleeping: z.boolean() });

/** Whether a server in sleep mode sleeps; one that cannot say does not. */
export async function vllmSleeps(url: string, request: typeof fetch = fetch): Promise<boolean> {
  const response = await request(new URL('/is_sleeping', url), { signal: AbortSignal.timeout(10_000) }).catch(
    () => null,
  );
  const said = Sleeping.safeParse(await response?.json().catch(() => null));
  return said.success && said.data.is_sleeping;
}

const GAUGES: Record<keyof VllmLoad, string> = {
  running: 'vllm:num_requests_running',
  waiting: 'vllm:num_requests_waiting',
  kv_cache_usage: 'vllm:kv_cache_usage_perc',
  preemptions: 'vllm:num_preemptions_total',
  prompt_tokens: 'vllm:prompt_tokens_total',
  generation_tokens: 'vllm:generation_tokens_total',
};

/** Reads vLLM's Prometheus text. Engines of one server are added up, cache use averaged; null when a metric is missing. */
export function parseVllmMetrics(text: string): VllmLoad | null {
  const values = (name: string) =>
    text.split('\n').flatMap((line) => {
      if (!line.startsWith(`${name}{`) && !line.startsWith(`${name} `)) return [];
      const value = Number(line.slice(line.lastIndexOf(' ') + 1));
      return Number.isFinite(value) ? [value] : [];
    });
  const load: Partial<VllmLoad> = {};
  for (const [key, name] of Object.entries(GAUGES) as [keyof VllmLoad, string][]) {
    const found = values(name);
    if (found.length === 0) return null;
    const sum = found.reduce((total, value) => total + value, 0);
    load[key] = key === 'kv_cache_usage' ? sum / found.length : sum;
  }
  return load as VllmLoad;
}

/** The server's load, or null when it cannot be had. */
export async function scrapeVllm(
  endpoint: { url: string; token: string },
  request: typeof fetch = fetch,
): Promise<VllmLoad | null> {
  const response = await request(new URL('/metrics', endpoint.url), {
    headers: { authorization: `Bearer ${endpoint.token}` },
    signal: AbortSignal.timeout(5000),
  }).catch(() => null);
  return response?.ok ? parseVllmMetrics(await response.text()) : null;
}
