import { expect, test } from 'vitest';
import { Serving } from '../studies/study.ts';
import {
  gpuGroups,
  parseVllmMetrics,
  vllmArguments,
  vllmEnvironment,
  vllmFault,
  vllmSleeps,
} from './vllm.ts';

function serving(settings: object = {}) {
  const parsed = Serving.parse({ kind: 'vllm', python: 'python', ...settings });
  if (parsed.kind !== 'vllm') throw new Error('not vllm');
  return parsed;
}

test('the launch line holds the role, and what the study adds wins', () => {
  const line = vllmArguments(
    serving({ arguments: ['--max-num-seqs', '8'], gpu_memory_utilization: 0.5 }),
    { context: 12288, images: 4, concurrency: 64 },
    { directory: '/m', name: 'frozen', host: '127.0.0.1', port: 8001 },
  );
  const value = (name: string) => line[line.lastIndexOf(name) + 1];
  expect(value('--max-model-len')).toBe('12288');
  expect(value('--limit-mm-per-prompt')).toBe('{"image":4,"video":0}');
  expect(value('--gpu-memory-utilization')).toBe('0.5');
  expect(value('--max-num-seqs')).toBe('8');
  expect(line.every((part) => typeof part === 'string' && part !== '')).toBe(true);
});

test('GPUs are given to one server each, or to as many as one spreads over', () => {
  expect(gpuGroups(serving({ gpus: [4, 5, 6] }))).toEqual([[4], [5], [6]]);
  expect(gpuGroups(serving({ gpus: [4, 5, 6, 7], tensor_parallel: 2 }))).toEqual([
    [4, 5],
    [6, 7],
  ]);
  expect(gpuGroups(serving())).toEqual([[]]);
  expect(vllmEnvironment([4, 5], 't').CUDA_VISIBLE_DEVICES).toBe('4,5');
  expect(vllmEnvironment([], 't')).not.toHaveProperty('CUDA_VISIBLE_DEVICES');
});

test('a server is used when its engine is healthy and it serves the model asked for', async () => {
  const fault = (health: number, ids: string[]) =>
    vllmFault({ url: 'http://server:1/v1', model: 'frozen', token: 't' }, async (url) =>
      String(url).endsWith('/health')
        ? new Response('', { status: health })
        : Response.json({ data: ids.map((id) => ({ id })) }),
    );
  expect(await fault(200, ['frozen'])).toBeNull();
  expect(await fault(503, ['frozen'])).toBe('its /health says 503');
  expect(await fault(200, ['other'])).toBe('it serves other, not frozen');
  const refused = async () => Promise.reject(new Error('refused'));
  expect(await vllmFault({ url: 'http://server:1/v1', model: 'frozen', token: 't' }, refused)).toBe(
    'it does not answer (refused)',
  );
});

test("vLLM's metrics are read by name, added over engines, and never guessed", () => {
  const text = `# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="frozen"} 12.0
vllm:num_requests_running{engine="1",model_name="frozen"} 4.0
vllm:num_requests_waiting{engine="0",model_name="frozen"} 3.0
vllm:kv_cache_usage_perc{engine="0",model_name="frozen"} 0.25
vllm:kv_cache_usage_perc{engine="1",model_name="frozen"} 0.75
vllm:num_preemptions_total{engine="0",model_name="frozen"} 0.0
vllm:prompt_tokens_total{engine="0",model_name="frozen"} 1.5e+06
vllm:generation_tokens_total{engine="0",model_name="frozen"} 20480.0
`;
  expect(parseVllmMetrics(text)).toEqual({
    running: 16,
    waiting: 3,
    kv_cache_usage: 0.5,
    preemptions: 0,
    prompt_tokens: 1_500_000,
    generation_tokens: 20_480,
  });
  expect(parseVllmMetrics(text.replaceAll('waiting', 'queued'))).toBeNull();
  expect(parseVllmMetrics('')).toBeNull();
});

test('a server that shall sleep is started so that it can, and says whether it does', async () => {
  const at = { directory: '/m', name: 'frozen', host: '127.0.0.1', port: 8001 };
  const limits = { context: 4096, images: 1, concurrency: 8 };
  expect(vllmArguments(serving({ sleep_seconds: 2 }), limits, at)).toContain('--enable-sleep-mode');
  expect(vllmArguments(serving(), limits, at)).not.toContain('--enable-sleep-mode');
  expect(vllmEnvironment([0], 't', true).VLLM_SERVER_DEV_MODE).toBe('1');
  expect(vllmEnvironment([0], 't')).not.toHaveProperty('VLLM_SERVER_DEV_MODE');
  const says = (body: string) => vllmSleeps('http://server:1/v1', async () => new Response(body));
  expect(await says('{"is_sleeping": true}')).toBe(true);
  expect(await says('{"is_sleeping": false}')).toBe(false);
  expect(await says('Not Found')).toBe(false);
});
