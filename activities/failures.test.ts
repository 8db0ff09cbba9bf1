import { mkdtempSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import quickstart from '../studies/tiny-quickstart.ts';
import { diagnoseLog, FAILURE_KINDS, type FailureKind, recogniseFailure } from './failures.ts';

/** Excerpts in the formats of the programs that write them; host names, numbers and paths are made up. */
const LOGS: Record<FailureKind, string[]> = {
  DiskFull: [
    "OSError: [Errno 28] No space left on device: '/data/p2r/phases/reasoner-1/checkpoints/.step-000030.1/optimizer.pt'",
    'safetensors_rust.SafetensorError: Error while serializing: I/O error: No space left on device (os error 28)',
    'RuntimeError: [enforce fail at inline_container.cc:664] . PytorchStreamWriter failed writing file data/41: file write failed',
    'OSError: [Errno 122] Disk quota exceeded',
  ],
  TokenizerMismatch: [
    'ValueError: Image features and image tokens do not match: tokens: 1992, features 2048',
    '\tsize mismatch for model.language_model.embed_tokens.weight: copying a param with shape torch.Size([151936, 2560]) from checkpoint, the shape in current model is torch.Size([151669, 2560]).',
    '/pytorch/aten/src/ATen/native/cuda/Indexing.cu:1553: indexSelectLargeIndex: block: [31,0,0], thread: [64,0,0] Assertion `srcIndex < srcSelectDimSize` failed.',
    'ValueError: Token id 151680 is out of vocabulary',
  ],
  WorldSizeChanged: [
    "FileNotFoundError: [Errno 2] No such file or directory: '/data/ckpt/global_step_60/actor/model_world_size_8_rank_0.pt'",
  ],
  CudaOutOfMemory: [
    '(WorkerDict pid=41822) torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.32 GiB. GPU 0 has a total capacity of 79.11 GiB of which 1.05 GiB is free. Including non-PyTorch memory, this process has 78.05 GiB memory in use.',
    'RuntimeError: CUDA error: out of memory',
    'RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`',
  ],
  CacheTooSmall: [
    'ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when initializing the engine.',
    'ValueError: Free memory on device (3.21/79.11 GiB) on startup is less than desired GPU memory utilization (0.8, 63.29 GiB). Decrease GPU memory utilization or reduce GPU memory used by other processes.',
    "ValueError: To serve at least one request with the models's max seq len (12288), (1.69 GiB KV cache is needed, which is larger than the available KV cache memory (0.91 GiB).",
  ],
  HostOutOfMemory: [
    'ray.exceptions.OutOfMemoryError: Task was killed due to the node running low on memory.',
    '[81234.55] Out of memory: Killed process 4411 (ray::WorkerDict) total-vm:214343432kB, anon-rss:98213312kB',
    'RuntimeError: DataLoader worker (pid(s) 9912) is killed by signal: Killed. ',
  ],
  PromptTooLong: ['RuntimeError: Prompt length 2731 is longer than 2560.'],
  ContextTooShort: [
    "openai.BadRequestError: Error code: 400 - {'error': {'message': \"This model's maximum context length is 4096 tokens. However, you requested 5120 tokens\"}}",
  ],
  PortTaken: [
    "[Errno 98] error while attempting to bind on address ('127.0.0.1', 8801): address already in use",
  ],
  NodeLost: [
    'ray.exceptions.ActorDiedError: The actor died unexpectedly before finishing this task. The actor is dead because its node has died. Node Id: 8c3e1f',
    '(raylet) The node with node id: 8c3e1f and address: 10.0.3.7 and node name: gpu-3 has been marked dead because the detector has missed too many heartbeats from it.',
  ],
  NcclTimeout: [
    '[rank2]:[E1103 04:12:55.110293847 ProcessGroupNCCL.cpp:683] [Rank 2] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=8841, OpType=_ALLGATHER_BASE, NumelIn=1, NumelOut=4, Timeout(ms)=600000) ran for 600017 milliseconds before timing out.',
    'torch.distributed.DistBackendError: NCCL error in: ProcessGroupNCCL.cpp:3690, ncclRemoteError: A call failed possibly due to a network error or a remote process exiting prematurely.',
  ],
  ServerDead: [
    'vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue. See stack trace (above) for the root cause.',
    'RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}',
  ],
};

const NOISE = [
  '(TaskRunner pid=3120) step:41 - actor/kl_loss:0.0021 - critic/score/mean:0.61 - timing_s/step:58.2',
  'INFO 11-24 06:12:11 [loggers.py:127] Engine 000: Avg prompt throughput: 812.4 tokens/s, Running: 16 reqs, Waiting: 3 reqs',
  'UserWarning: The given NumPy array is not writable',
  'NCCL version 2.27.3+cuda12.9',
  'Token indices sequence length is longer than the specified maximum sequence length for this model',
];

const values = {
  ...quickstart.perceiver,
  train_batch_size: 64,
  ppo_mini_batch_size: 64,
  ppo_micro_batch_size: 8,
};

test.each(FAILURE_KINDS.flatMap((kind) => LOGS[kind].map((line) => [kind, line] as const)))(
  '%s: %s',
  (kind, line) => {
    const found = recogniseFailure([...NOISE, line, ...NOISE].join('\n'), values);
    expect(found?.kind).toBe(kind);
    expect(line.trim().startsWith(found?.evidence ?? '?')).toBe(true);
    expect(found?.advice).toMatch(/\.$/);
  },
);

test('a healthy log shows no failure', () => {
  expect(recogniseFailure(NOISE.join('\n'))).toBeNull();
  expect(recogniseFailure('')).toBeNull();
});

test('the cause is named, not what followed from it', () => {
  const [memory, nccl, dead, node] = [
    LOGS.CudaOutOfMemory[0],
    LOGS.NcclTimeout[0],
    LOGS.ServerDead[0],
    LOGS.NodeLost[0],
  ];
  expect(recogniseFailure([nccl, dead, memory].join('\n'))?.kind).toBe('CudaOutOfMemory');
  expect(recogniseFailure([nccl, node].join('\n'))?.kind).toBe('NodeLost');
});

test('a suggested override is a value the study would accept, and asks for less memory', () => {
  const line = LOGS.CudaOutOfMemory[0] ?? '';
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 64 }), fc.integer({ min: 1, max: 8 }), (micro, times) => {
      const before = { ...values, ppo_micro_batch_size: micro, train_batch_size: micro * times };
      const { overrides } = recogniseFailure(line, before) ?? {};
      const after = { ...before, ...overrides };
      expect(after.train_batch_size % after.ppo_micro_batch_size).toBe(0);
      const size = (value: typeof before) => value.ppo_micro_batch_size * value.max_response_length;
      expect(size(after)).toBeLessThan(size(before));
    }),
  );
  expect(recogniseFailure(line, values)?.overrides).toEqual({ ppo_micro_batch_size: 4 });
  expect(
    recogniseFailure(LOGS.PromptTooLong[0] ?? '', { ...values, max_prompt_length: 2560 })?.overrides,
  ).toEqual({
    max_prompt_length: 3072,
  });
  expect(recogniseFailure(LOGS.DiskFull[0] ?? '', values)?.overrides).toEqual({});
});

test('the end of a long log is read, and what the engine reported counts first', async () => {
  const file = path.join(mkdtempSync(path.join(os.tmpdir(), 'p2r-failures-')), 'log.txt');
  writeFileSync(file, `${`${NOISE[0]}\n`.repeat(20_000)}${LOGS.NcclTimeout[0]}\n`);
  expect((await diagnoseLog(file, ''))?.kind).toBe('NcclTimeout');
  expect((await diagnoseLog(file, LOGS.DiskFull[0] ?? ''))?.kind).toBe('DiskFull');
  expect(await diagnoseLog(`${file}.missing`, '')).toBeNull();
});
