/** What a colleague would say about a dead trainer or server: its log's own words -> a typed failure, advice, and values to try instead. */
import { open } from 'node:fs/promises';
import type { Hyperparameters } from '../studies/study.ts';

/** Kinds of failure that logs are searched for, the likeliest root cause first. */
export const FAILURE_KINDS = [
  'DiskFull',
  'TokenizerMismatch',
  'WorldSizeChanged',
  'CudaOutOfMemory',
  'CacheTooSmall',
  'HostOutOfMemory',
  'PromptTooLong',
  'ContextTooShort',
  'PortTaken',
  'NodeLost',
  'NcclTimeout',
  'ServerDead',
] as const;
export type FailureKind = (typeof FAILURE_KINDS)[number];

/**
 * Whether another attempt makes sense. `as-is`: the cause lies outside and may be gone; `with-overrides`: the same values would fail again;
 * `after-repair`: somebody has to mend something first.
 */
export type Retry = 'as-is' | 'with-overrides' | 'after-repair';

/** A failure that was recognised. `evidence` is the line that gave it away (at most 300 characters). */
export type RecognisedFailure = {
  kind: FailureKind;
  evidence: string;
  advice: string;
  retry: Retry;
  /** Values to retry the phase with, by their names in a study's role; empty when no value would help. */
  overrides: Partial<Hyperparameters>;
};

type Knowledge = {
  /** Any of these in a line. Written against the messages of PyTorch, NCCL, vLLM, Ray, veRL, safetensors and libc. */
  signs: RegExp[];
  retry: Retry;
  advice: string;
  overrides?: (values: Hyperparameters, line: string) => Partial<Hyperparameters>;
};

const KNOWLEDGE: Record<FailureKind, Knowledge> = {
  DiskFull: {
    signs: [
      /No space left on device/,
      /\bENOSPC\b/,
      /Disk quota exceeded/,
      /PytorchStreamWriter failed writing file/,
    ],
    retry: 'after-repair',
    advice:
      'The disk that takes checkpoints is full: free some (older step-… folders of finished phases first), then retry the phase.',
  },
  TokenizerMismatch: {
    signs: [
      /Image features and image tokens do not match/,
      /size mismatch for \S*(?:embed_tokens|lm_head)/,
      /Assertion `[^`]*(?:srcIndex < srcSelectDimSize|ind >=? ?0 && ind < )/,
      /Token id \d+ is out of (?:the )?vocabulary/,
      /IndexError: index out of range in self/,
    ],
    retry: 'after-repair',
    advice:
      'Tokenizer or image processor and weights do not belong together: serve and train from one model directory whose tokenizer.json, ' +
      'config.json and preprocessor_config.json come from the same release, and use patches of 16 pixels for Qwen3-VL.',
  },
  WorldSizeChanged: {
    signs: [
      /(?:model|optim|extra_state)_world_size_\d+_rank_\d+\.pt'?.*(?:No such file|does not exist|not found)/i,
      /(?:No such file|does not exist|not found).*(?:model|optim|extra_state)_world_size_\d+_rank_\d+\.pt/i,
    ],
    retry: 'after-repair',
    advice:
      'The checkpoint was written by another number of GPUs: resume on as many as its file names say (world_size), or start the phase anew.',
  },
  CudaOutOfMemory: {
    signs: [
      /CUDA out of memory/,
      /CUDA error: out of memory/,
      /\bOutOfMemoryError: CUDA/,
      /CUBLAS_STATUS_ALLOC_FAILED/,
    ],
    retry: 'with-overrides',
    advice:
      'A GPU ran out of memory: lower ppo_micro_batch_size (the result stays the same but for rounding); at 1, lower max_response_length, ' +
      'or give the server on the same GPU a smaller share (gpu_memory_utilization).',
    overrides: lessMemory,
  },
  CacheTooSmall: {
    signs: [
      /No available memory for the cache blocks/,
      /larger than the available KV cache memory/,
      /Free memory on device .* is less than desired GPU memory utilization/,
    ],
    retry: 'after-repair',
    advice:
      'vLLM found no room for its KV cache: another process holds the GPU, or its share is too small. Free the GPU, raise ' +
      'gpu_memory_utilization, or lower the context length.',
  },
  HostOutOfMemory: {
    signs: [
      /node running low on memory/,
      /ray\.exceptions\.OutOfMemoryError/,
      /oom-kill|Out of memory: Killed process/,
      /DefaultCPUAllocator: can't allocate memory/,
      /DataLoader worker .* is killed by signal: Killed/,
    ],
    retry: 'after-repair',
    advice:
      'The machine ran out of main memory: images held by data-loading workers are the usual reason. Use fewer of them, or a machine with ' +
      'more memory; other processes on it count as well.',
  },
  PromptTooLong: {
    signs: [/[Pp]rompt length \(?\d+\)? is longer than \d+/, /exceeds max_prompt_length/],
    retry: 'with-overrides',
    advice:
      'A prompt with its images is longer than max_prompt_length: raise it (one token shows 32 x 32 pixels), or lower the pixel budget.',
    overrides: (values, line) => {
      const length = Number(/length \(?(\d+)/.exec(line)?.[1] ?? Number.NaN);
      const roomy = Math.ceil(Math.max(length, values.max_prompt_length + 1) / 512) * 512;
      return Number.isFinite(length) ? { max_prompt_length: roomy } : {};
    },
  },
  ContextTooShort: {
    signs: [/maximum context length is \d+ tokens/, /is longer than the maximum model length of \d+/],
    retry: 'after-repair',
    advice:
      "The served model's context is too short for prompt, images and answer: serve it with a larger --max-model-len (12288 holds the " +
      "paper's reasoner).",
  },
  PortTaken: {
    signs: [/\[Errno 98\]|EADDRINUSE|[Aa]ddress already in use/],
    retry: 'as-is',
    advice:
      'A port was taken by another process between choosing and binding it: the next try takes another one.',
  },
  NodeLost: {
    signs: [
      /its node has died|NodeDiedError|LocalRayletDiedError/,
      /has been marked dead because the detector/,
      /The node .* (?:was|is) (?:terminated|drained|preempted)/,
      /Raylet is terminated/,
    ],
    retry: 'as-is',
    advice:
      'A node of the cluster went away: the phase goes on from its newest checkpoint as soon as Ray has as many GPUs again. If that node ' +
      'dies often, look at its system log (memory, GPU errors) or take it out.',
  },
  NcclTimeout: {
    signs: [
      /Watchdog caught collective operation timeout/,
      /\bNCCL\b.*(?:[Tt]ime(?:d )?out|unhandled (?:system|cuda) error|remote process)/,
      /nccl(?:System|Remote|Internal)Error/,
    ],
    retry: 'as-is',
    advice:
      'GPUs waited for one another until NCCL gave up: one process was slow, hung or dead, or the network between nodes is broken. The phase ' +
      'goes on from its newest checkpoint; when it happens again, run with NCCL_DEBUG=WARN and check NCCL_SOCKET_IFNAME.',
  },
  ServerDead: {
    signs: [
      /EngineDeadError|EngineCore encountered an issue/,
      /Engine core initialization failed/,
      /AsyncLLM output_handler failed/,
    ],
    retry: 'as-is',
    advice:
      'The vLLM engine behind the model server died: it is started again by itself. When it dies again, read the lines above the first ' +
      'traceback of its log.',
  },
};

/** Fewer samples at a time: the largest divisor of the batch up to half of the micro-batch, or, at 1, shorter responses. */
function lessMemory(values: Hyperparameters): Partial<Hyperparameters> {
  const { train_batch_size, ppo_micro_batch_size, max_response_length } = values;
  for (let size = Math.floor(ppo_micro_batch_size / 2); size >= 1; size--)
    if (train_batch_size % size === 0) return { ppo_micro_batch_size: size };
  const shorter = Math.floor((max_response_length * 3) / 4);
  return shorter >= 1 ? { max_response_length: shorter } : {};
}

/**
 * The first failure of {@link FAILURE_KINDS} that the text shows, or null. What follows a root cause in the same log (peers timing out,
 * actors dying) loses against it. `values` are the phase's, for the suggested overrides.
 */
export function recogniseFailure(text: string, values?: Hyperparameters): RecognisedFailure | null {
  const lines = text.split('\n');
  for (const kind of FAILURE_KINDS) {
    const { signs, retry, advice, overrides } = KNOWLEDGE[kind];
    const line = lines.find((candidate) => signs.some((sign) => sign.test(candidate)));
    if (line === undefined) continue;
    return {
      kind,
      evidence: line.trim().slice(0, 300),
      advice,
      retry,
      overrides: values === undefined ? {} : (overrides?.(values, line) ?? {}),
    };
  }
  return null;
}

/** Most of a log that is searched; a longer one is read from its end. */
const SEARCHED_BYTES = 1024 * 1024;

/** {@link recogniseFailure} of the end of a log file, together with what the engine itself reported; null when nothing is known. */
export async function diagnoseLog(
  log: string,
  reported: string,
  values?: Hyperparameters,
): Promise<RecognisedFailure | null> {
  return recogniseFailure(`${reported}\n${await logEnd(log, SEARCHED_BYTES)}`, values);
}

/** The last `bytes` of a file as text; '' when it cannot be read. */
async function logEnd(file: string, bytes: number): Promise<string> {
  const handle = await open(file, 'r').catch(() => null);
  if (handle === null) return '';
  try {
    const { size } = await handle.stat();
    const buffer = Buffer.alloc(Math.min(size, bytes));
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, size - buffer.length);
    return buffer.toString('utf8', 0, bytesRead);
  } finally {
    await handle.close();
  }
}
