/** Reads runs for the notebooks: typed, from run directories only. */
import path from 'node:path';
import { z } from 'zod';
import {
  answersPerSecond,
  evaluationFiles,
  evaluationSeconds,
  Prediction,
  type Prediction as PredictionRow,
  readScores,
  type StrategyScores,
} from '../../store/evaluations.ts';
import {
  type ExperimentRecord,
  evaluatedStep,
  listExperiments,
  readEvents,
  readExperiment,
  stepOffsets,
} from '../../store/experiments.ts';
import { readJsonLines } from '../../store/files.ts';
import { openStore, type Store } from '../../store/layout.ts';
import { type AttemptMetricRow, readPhaseMetrics } from '../../store/metrics.ts';
import { readProgress } from '../../store/progress.ts';

/** A phase with its curve; its step n is step `from + n` of the run. */
export type RunPhase = {
  id: string;
  role: string;
  iteration: number;
  from: number;
  to: number;
  rows: AttemptMetricRow[];
};

/** An evaluation that has ended, at step `at` of the run. */
export type RunEvaluation = {
  key: string;
  /** Content key of the weights. */
  model: string;
  checkpoint: string;
  after: string | null;
  at: number;
  strategies: Record<string, StrategyScores>;
};

/** A checkpoint and what is known of it by strategy: the scores, and the key of the evaluation that holds the answers. */
export type Checkpoint = {
  checkpoint: string;
  at: number;
  strategies: Record<string, { key: string; scores: StrategyScores }>;
};

/** One experiment, read whole. `pairs` are evaluations in which two checkpoints share the roles; they are no points of a curve. */
export type Run = {
  record: ExperimentRecord;
  phases: RunPhase[];
  evaluations: RunEvaluation[];
  pairs: RunEvaluation[];
};

/** There is no such experiment, or no experiment of such a study, in the home that is looked at. */
export class RunNotFoundError extends Error {
  constructor(home: string, name: string, known: string[], what: 'experiment' | 'study' = 'experiment') {
    super(`${home} has no ${what} "${name}"; it has: ${known.join(', ') || 'none'}.`);
    this.name = 'RunNotFoundError';
  }
}

/** The user's home where P2R_HOME names one, else the runs that are stored beside the notebooks. */
export function openHome(home: string | undefined): Store {
  return openStore(home ?? path.join(import.meta.dirname, '..', 'example'));
}

/** Reads an experiment. Throws {@link RunNotFoundError}. */
export async function loadRun(store: Store, name: string): Promise<Run> {
  const record = await readExperiment(store, name);
  if (record === null) throw new RunNotFoundError(store.home, name, await runNames(store));
  const offsets = stepOffsets(record);
  const phases: RunPhase[] = [];
  for (const [index, phase] of record.phases.entries())
    phases.push({
      id: phase.id,
      role: phase.name,
      iteration: phase.iteration,
      from: offsets[index]?.from ?? 0,
      to: offsets[index]?.to ?? 0,
      rows: await readPhaseMetrics(store, phase.key),
    });
  const evaluations: RunEvaluation[] = [];
  const pairs: RunEvaluation[] = [];
  for (const { key, checkpoint, after, pair } of record.evaluations) {
    const scores = await readScores(store, key);
    if (scores === null) continue;
    (pair ? pairs : evaluations).push({
      key,
      model: scores.model_key,
      checkpoint,
      after,
      at: evaluatedStep(record, { after, checkpoint }),
      strategies: scores.strategies,
    });
  }
  return { record, phases, evaluations: evaluations.sort((a, b) => a.at - b.at), pairs };
}

/** Names of all experiments of a home, newest first. */
export async function runNames(store: Store): Promise<string[]> {
  return (await listExperiments(store)).map(({ experiment }) => experiment);
}

/**
 * The runs of the first of these studies that the home holds: all its cases and seeds, by name. Throws {@link RunNotFoundError} when it
 * holds none of them.
 */
export async function loadStudy(store: Store, ...studies: string[]): Promise<Run[]> {
  const records = await listExperiments(store);
  for (const study of studies) {
    const names = records.filter((record) => record.study === study).map(({ experiment }) => experiment);
    if (names.length > 0) return Promise.all(names.sort().map((name) => loadRun(store, name)));
  }
  throw new RunNotFoundError(
    store.home,
    studies.join('" or "'),
    [...new Set(records.map(({ study }) => study))].sort(),
    'study',
  );
}

/** The named experiment, or without a name the first run of the first of these studies that the home holds. Throws {@link RunNotFoundError}. */
export async function loadShown(
  store: Store,
  experiment: string | undefined,
  ...studies: string[]
): Promise<Run> {
  if (experiment !== undefined) return loadRun(store, experiment);
  const [run] = await loadStudy(store, ...studies);
  if (run === undefined) throw new RunNotFoundError(store.home, studies.join('" or "'), [], 'study');
  return run;
}

/** Evaluations of the same weights under the same rules, from every experiment of the home: their strategies together, by strategy. */
export async function loadStrategies(store: Store, run: Run): Promise<Checkpoint[]> {
  const rules = (record: ExperimentRecord) => {
    const { prompt_set, image_rules, extractor } = record.config;
    const {
      strategies: _,
      checkpoints: __,
      pairs: ___,
      concurrency: ____,
      ...asked
    } = z.record(z.string(), z.unknown()).safeParse(record.config.evaluation).data ?? {};
    return JSON.stringify([prompt_set, image_rules, extractor, asked]);
  };
  const others = (await listExperiments(store)).filter((record) => rules(record) === rules(run.record));
  const known: RunEvaluation[] = [...run.evaluations];
  for (const record of others) known.push(...(await loadRun(store, record.experiment)).evaluations);
  return run.evaluations.map(({ checkpoint, at, model }) => {
    const found: Checkpoint['strategies'] = {};
    for (const { key, strategies } of known.filter((one) => one.model === model))
      for (const [strategy, scores] of Object.entries(strategies)) found[strategy] ??= { key, scores };
    return { checkpoint, at, strategies: found };
  });
}

/** The roles that a run trains in each iteration, in their order. */
export function scheduleOf(run: Run): string[] {
  return run.phases.filter(({ iteration }) => iteration === 1).map(({ role }) => role);
}

/** What a run's rewards become an update by: "grpo" or "dapo". */
export function algorithmOf({ record }: Run): string {
  const parsed = z.looseObject({ name: z.string() }).safeParse(record.config.algorithm);
  return parsed.data?.name ?? 'grpo';
}

/** Answers of one evaluation, one by one. */
export async function loadPredictions(store: Store, key: string): Promise<PredictionRow[]> {
  return readJsonLines(evaluationFiles(store, key).predictions, Prediction);
}

/** Accuracy of a strategy on a checkpoint, and answers a second. */
export type Throughput = { checkpoint: string; strategy: string; accuracy: number; rate: number };

/** Throughput of every evaluation whose time is known (Figure 11's x axis), on the machine that ran it. */
export async function loadThroughput(store: Store, run: Run): Promise<Throughput[]> {
  const events = await readEvents(store, run.record.experiment);
  const rows: Throughput[] = [];
  for (const { key, checkpoint, strategies } of run.evaluations) {
    const seconds = await evaluationSeconds(store, key, events);
    if (seconds === null) continue;
    for (const [strategy, rate] of answersPerSecond(seconds, await loadPredictions(store, key)))
      rows.push({ checkpoint, strategy, accuracy: strategies[strategy]?.accuracy ?? Number.NaN, rate });
  }
  return rows;
}

/** What happened, as lines: time, what, which part. */
export async function diary(store: Store, run: Run): Promise<{ time: string; type: string; part: string }[]> {
  const events = await readEvents(store, run.record.experiment);
  return events.map(({ time, type, phase }) => ({ time, type, part: phase ?? '' }));
}

/** How often a run that goes on is looked at. */
const LOOK_EVERY_MS = 3000;

/** A line for every change of a run, until it has ended or waits for a decision. */
export async function* follow(store: Store, experiment: string): AsyncGenerator<string> {
  for (let before = ''; ; await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS))) {
    const { record } = await loadRun(store, experiment);
    const { state, message, steps } = await readProgress(store, record);
    const current = steps.find((step) => step.state === 'running' || step.state === 'waiting');
    const line = `${state}${current === undefined ? '' : `: ${current.id}, ${current.step} of ${current.total_steps}`}${message === null ? '' : `, ${message}`}`;
    if (line !== before) yield line;
    before = line;
    if (state !== 'running' && state !== 'pending') return;
  }
}

/** Least-squares line through points. Throws a RangeError below two different x. */
export function fittedLine(points: readonly { x: number; y: number }[]): {
  slope: number;
  intercept: number;
} {
  const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const [mx, my] = [mean(points.map(({ x }) => x)), mean(points.map(({ y }) => y))];
  const spread = points.reduce((sum, { x }) => sum + (x - mx) ** 2, 0);
  if (!(spread > 0)) throw new RangeError('A line needs points at two different places.');
  const slope = points.reduce((sum, { x, y }) => sum + (x - mx) * (y - my), 0) / spread;
  return { slope, intercept: my - slope * mx };
}

/** Mean over the defined values, null when there is none. */
export function mean(values: readonly (number | null | undefined)[]): number | null {
  const defined = values.filter((value) => value !== null && value !== undefined);
  return defined.length === 0 ? null : defined.reduce((sum, value) => sum + value, 0) / defined.length;
}

/** Accuracy at the end of every iteration (0 is the base model), as the paper's Figure 8 has it. */
export function accuracyByIteration(run: Run, strategy: string): { x: number; y: number }[] {
  const points: { x: number; y: number }[] = [];
  for (
    let iteration = 0;
    iteration <= Math.max(0, ...run.phases.map((phase) => phase.iteration));
    iteration++
  ) {
    const last = run.phases.findLast((phase) => phase.iteration === iteration);
    const evaluation = run.evaluations.findLast(({ after }) => after === (last?.id ?? null));
    const score = evaluation?.strategies[strategy];
    if (score !== undefined) points.push({ x: iteration, y: score.accuracy });
  }
  return points;
}

/**
 * Whether boxes collapsed over a phase: mean box count and size over its last fifth against its first. Under DAPO the paper saw the count
 * fall to one (appendix E.4).
 */
export function boxTrend(phase: RunPhase): {
  count: [number | null, number | null];
  size: [number | null, number | null];
} {
  const fifth = Math.max(1, Math.floor(phase.rows.length / 5));
  const ends = (name: string): [number | null, number | null] => [
    mean(phase.rows.slice(0, fifth).map((row) => row[name])),
    mean(phase.rows.slice(-fifth).map((row) => row[name])),
  ];
  return { count: ends('box_count'), size: ends('box_size') };
}
