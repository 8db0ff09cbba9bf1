/** What the paper's experiments have in common: Table 6, appendix C and D; what neither says comes from the authors' published scripts. */
import type { z } from 'zod';
import type { Hyperparameters, Study } from './study.ts';

/** The training mixture: 3,000 questions of DeepEyes, 3,000 of VisualProbe, 4,000 of ZwZ (appendix C.1). */
const MIXTURE_ROWS = 10_000;

/** Values of both phases (Table 6). An epoch has 156 whole batches of 64. */
export const PAPER_PHASE = {
  train_batch_size: 64,
  rollout_n: 8,
  ppo_mini_batch_size: 64,
  ppo_micro_batch_size: 8,
  lr: 1e-6,
  weight_decay: 0.01,
  grad_clip: 1,
  kl_loss_coef: 0.01,
  kl_loss_type: 'low_var_kl',
  entropy_coeff: 0,
  clip_ratio: 0.2,
  loss_agg_mode: 'token-mean',
  temperature: 1,
  total_steps: Math.floor(MIXTURE_ROWS / 64),
  save_freq: 30,
} as const satisfies Partial<Hyperparameters>;

/** Benchmarks of Table 1 and their average in the figures. */
export const HIGH_RESOLUTION = ['V-Star', 'HR-Bench-4K', 'HR-Bench-8K'];

/** The published files behind the benchmarks' names (docs/cluster.md says how they are fetched). */
const SOURCES: Record<string, string[]> = {
  'V-Star': ['v-star:datasets/v-star'],
  'HR-Bench-4K': ['hr-bench:datasets/hr-bench-4k/hr_bench_4k.parquet'],
  'HR-Bench-8K': ['hr-bench:datasets/hr-bench-8k/hr_bench_8k.parquet'],
  'MME-RealWorld-Lite': ['mme-realworld:datasets/mme-realworld-lite/data'],
  ReasonSeg: ['reason-seg:datasets/reason-seg/test', 'reason-seg:datasets/reason-seg/val'],
};

/** What an evaluation asks for these benchmarks of the paper. */
export function questionsOf(benchmarks: string[]): { name: string; source: string }[] {
  return benchmarks.flatMap((name) =>
    (SOURCES[name] ?? []).map((source, _, all) => ({
      name: all.length === 1 ? name : `${name} ${source.slice(source.lastIndexOf('/') + 1)}`,
      source,
    })),
  );
}

/** One iteration of PRA-GRPO on Qwen3-VL-4B: 4 GPUs train, the fifth serves the frozen role. */
export const PAPER_4B = {
  seed: 1,
  model: 'models/Qwen3-VL-4B-Instruct',
  iterations: 1,
  prompt_set: 'paper',
  image_rules: 'paper',
  extractor: 'p2r@1',
  serving: { kind: 'vllm', python: '.venv-vllm/bin/python', gpus: [4] },
  engine: {
    name: 'verl',
    version: '0.9',
    ray: 'http://127.0.0.1:8265',
    python: '.venv-verl/bin/python',
    nodes: 1,
    gpus_per_node: 4,
    tensor_parallel: 1,
    gpu_memory_utilization: 0.8,
    param_offload: false,
    optimizer_offload: false,
    threads: 8,
  },
  rewards: { processes: 4 },
  training_data: { kind: 'rows', directory: 'datasets/p2r-10k', name: 'p2r-10k@seed1' },
  questions: {
    perceiver: ['letter', 'same', 'spatial', 'count'],
    reasoner: ['letter', 'same', 'spatial', 'count'],
  },
  perceiver: { ...PAPER_PHASE, max_prompt_length: 2560, max_response_length: 1024 },
  reasoner: { ...PAPER_PHASE, max_prompt_length: 8704, max_response_length: 2048 },
  evaluation: {
    scenes: 100,
    questions_per_scene: 3,
    perceiver_max_tokens: 1024,
    reasoner_max_tokens: 2048,
    concurrency: 64,
    image_rules: 'paper-evaluation',
  },
} as const satisfies Partial<z.input<typeof Study>>;

/** The model of another size in the place of the 4B's. */
export const SIZES = {
  '2b': { model: 'models/Qwen3-VL-2B-Instruct' },
  '4b': { model: 'models/Qwen3-VL-4B-Instruct' },
  '8b': { model: 'models/Qwen3-VL-8B-Instruct', 'engine.optimizer_offload': true },
};
