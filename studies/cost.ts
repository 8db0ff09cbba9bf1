/**
 * What an experiment will roughly take, before anything starts. On GPUs it is arithmetic over the assumptions below, good to a factor of
 * two or three; on the CPU it is scaled from measured steps of the tiny model.
 */
import type { ExperimentPlan, PhasePlan } from '../workflows/types.ts';
import type { Hyperparameters, Study } from './study.ts';

/** Bytes on disk, tokens through models (prompts and responses, training and judging), hours of wall clock and of GPUs. */
export type Cost = { hours: number; gpu_hours: number; disk_bytes: number; tokens: number };

/** Of the model whose steps CPU_SECONDS were measured with. */
const MEASURED_PARAMETERS = 6.2e6;

/** Parameters of the models the studies name, by the last part of their directory. */
const PARAMETERS: Record<string, number> = {
  'Qwen3-VL-2B-Instruct': 2.1e9,
  'Qwen3-VL-4B-Instruct': 4.4e9,
  'Qwen3-VL-8B-Instruct': 8.8e9,
  'tiny-small': 2.2e6,
  tiny: MEASURED_PARAMETERS,
  'tiny-large': 16e6,
};

/** Taken for a model that is not in the list. */
const UNKNOWN_PARAMETERS = 4.4e9;

/** Assumptions for one H100. */
const GPU = {
  /** Dense bf16 operations a second, and the shares of it that training and prefilling reach. */
  peak: 989e12,
  trainingShare: 0.35,
  prefillShare: 0.4,
  /** Decoded tokens a second of a server full of requests, times the model's parameters. */
  decoding: 1e13,
  /** Operations per token and parameter: forward, backward, recomputation, old and reference log-probabilities. */
  trainingOperations: 12,
};

/** Shares of the length limits that prompts and responses fill. */
const FILLED = { prompt: 0.7, evidencePrompt: 0.5, response: 0.15 };

/** Seconds on two cores with the tiny model: a completion trained on (20 s and 8 s for steps of 64), and one request served. */
const CPU_SECONDS = { perceiver: 0.31, reasoner: 0.125, direct: 0.125, request: 0.07 };

/** Questions of the paper's benchmarks (HR-Bench: 200 in four option orders; ReasonSeg: validation and test). */
const QUESTIONS: Record<string, number> = {
  'V-Star': 191,
  'HR-Bench-4K': 800,
  'HR-Bench-8K': 800,
  'MME-RealWorld-Lite': 1919,
  ReasonSeg: 979,
};

/** Prompts that DAPO samples for each that it keeps, assumed. */
const DAPO_SAMPLES = 1.5;

/** Bytes an image of a training set takes, as JPEG at the pixel budget. */
const IMAGE_BYTES = 600_000;

/** Cost of the parts of a plan that are not reused: `isReused` tells by key which are. */
export function estimateCost(plan: ExperimentPlan, isReused: (key: string) => boolean = () => false): Cost {
  const parts = [
    ...plan.phases.filter(({ key }) => !isReused(key)).map((phase) => phaseCost(plan.study, phase)),
    ...plan.evaluations
      .filter(({ key }) => !isReused(key))
      .map(({ strategies }) => evaluationCost(plan.study, strategies)),
  ];
  return addCosts(parts);
}

/** Sum of costs of things that run one after the other. */
export function addCosts(costs: Cost[]): Cost {
  return costs.reduce(
    (sum, cost) => ({
      hours: sum.hours + cost.hours,
      gpu_hours: sum.gpu_hours + cost.gpu_hours,
      disk_bytes: sum.disk_bytes + cost.disk_bytes,
      tokens: sum.tokens + cost.tokens,
    }),
    { hours: 0, gpu_hours: 0, disk_bytes: 0, tokens: 0 },
  );
}

function parametersOf(study: Study): number {
  return PARAMETERS[study.model.split('/').at(-1) ?? ''] ?? UNKNOWN_PARAMETERS;
}

/** Seconds on the CPU for a model of another size than the one measured: as its parameters. */
function cpuSeconds(study: Study, measured: number): number {
  return (measured * parametersOf(study)) / MEASURED_PARAMETERS;
}

/** GPUs that train and GPUs that serve; [0, 0] on the CPU. */
function gpus({ engine, serving }: Study): [number, number] {
  const training =
    engine.name === 'verl' ? engine.nodes * engine.gpus_per_node : engine.device === 'cuda' ? 1 : 0;
  const serving_ = serving.kind === 'vllm' ? Math.max(1, serving.gpus.length) : 0;
  return [training, serving_];
}

function phaseCost(study: Study, { role, hyperparameters: h }: PhasePlan): Cost {
  const sampled = study.algorithm.name === 'dapo' ? DAPO_SAMPLES : 1;
  const completions = h.train_batch_size * h.rollout_n * h.total_steps;
  const prompt = h.max_prompt_length * (role === 'reasoner' ? FILLED.evidencePrompt : FILLED.prompt);
  const response = h.max_response_length * FILLED.response;
  const judged = role === 'perceiver' ? completions * sampled : 0;
  const judging = request(study, study.reasoner, FILLED.evidencePrompt);
  const collected = role === 'reasoner' ? h.train_batch_size * h.total_steps : 0;
  const collecting = request(study, study.perceiver, FILLED.prompt);
  const tokens =
    completions * sampled * (prompt + response) + judged * judging.tokens + collected * collecting.tokens;
  const disk_bytes = checkpointBytes(study, h) + h.train_batch_size * h.total_steps * IMAGE_BYTES;
  const [training, serving] = gpus(study);
  if (training === 0)
    return {
      hours: (completions * sampled * cpuSeconds(study, CPU_SECONDS[role])) / 3600,
      gpu_hours: 0,
      disk_bytes,
      tokens,
    };
  const n = parametersOf(study);
  const update =
    (completions * (prompt + response) * GPU.trainingOperations * n) / (GPU.peak * GPU.trainingShare);
  const generate =
    ((completions * sampled) / h.rollout_n) * prefillSeconds(n, prompt) +
    completions * sampled * decodeSeconds(n, response);
  const serve = judged * judging.seconds + collected * collecting.seconds;
  const hours = ((update + generate) / training + serve / Math.max(1, serving)) / 3600;
  return { hours, gpu_hours: hours * (training + serving), disk_bytes, tokens };
}

function evaluationCost(study: Study, strategies: string[]): Cost {
  const questions =
    study.reproduces === undefined || gpus(study)[0] === 0
      ? study.evaluation.scenes * study.evaluation.questions_per_scene
      : study.reproduces.benchmarks.reduce((sum, name) => sum + (QUESTIONS[name] ?? 0), 0);
  const perceive = request(study, study.perceiver, FILLED.prompt);
  const reason = request(study, study.reasoner, FILLED.evidencePrompt);
  const parts: Record<string, { seconds: number; tokens: number }[]> = {
    direct: [reason],
    p2r: [perceive, reason],
    grounding: [perceive],
    oracle: [reason],
    random: [reason],
    none: [reason],
  };
  const calls = strategies.flatMap((strategy) => parts[strategy] ?? []);
  const seconds = questions * calls.reduce((sum, call) => sum + call.seconds, 0);
  const serving = gpus(study)[1];
  const hours = seconds / Math.max(1, serving) / 3600;
  return {
    hours,
    gpu_hours: serving === 0 ? 0 : hours * serving,
    disk_bytes: questions * strategies.length * 4000,
    tokens: questions * calls.reduce((sum, call) => sum + call.tokens, 0),
  };
}

/** Tokens, and seconds of one server, that one request of a frozen role takes. */
function request(study: Study, limits: Hyperparameters, filled: number): { seconds: number; tokens: number } {
  const [prompt, response] = [
    limits.max_prompt_length * filled,
    limits.max_response_length * FILLED.response,
  ];
  const n = parametersOf(study);
  const seconds =
    gpus(study)[1] === 0
      ? cpuSeconds(study, CPU_SECONDS.request)
      : prefillSeconds(n, prompt) + decodeSeconds(n, response);
  return { seconds, tokens: prompt + response };
}

function prefillSeconds(parameters: number, tokens: number): number {
  return (2 * parameters * tokens) / (GPU.peak * GPU.prefillShare);
}

function decodeSeconds(parameters: number, tokens: number): number {
  return (tokens * parameters) / GPU.decoding;
}

/** TRL keeps weights and Adam's moments (fp32) of every saved step; veRL the newest two, and bf16 weights of the steps it merged. */
function checkpointBytes(study: Study, { total_steps, save_freq }: Hyperparameters): number {
  const n = parametersOf(study);
  const saved = Math.ceil(total_steps / save_freq);
  return study.engine.name === 'trl' ? saved * 12 * n : Math.min(2, saved) * 12 * n + saved * 2 * n;
}
