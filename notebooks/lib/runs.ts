/** Reads runs for the notebooks: typed, from run directories only. */
import path from 'node:path';
import {
  evaluationFiles,
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
  checkpoint: string;
  after: string | null;
  at: number;
  strategies: Record<string, StrategyScores>;
};

/** One experiment, read whole. `pairs` are evaluations in which two checkpoints share the roles; they are no points of a curve. */
export type Run = {
  record: ExperimentRecord;
  phases: RunPhase[];
  evaluations: RunEvaluation[];
  pairs: RunEvaluation[];
};

/** There is no such experiment in the home that is looked at. */
export class RunNotFoundError extends Error {
  constructor(home: string, name: string, known: string[]) {
    super(`${home} has no experiment "${name}"; it has: ${known.join(', ') || 'none'}.`);
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

/** The runs of a study's seeds, oldest first: every experiment whose name begins with the study's. */
export async function loadRuns(store: Store, prefix: string): Promise<Run[]> {
  const names = (await runNames(store)).filter((name) => name.startsWith(prefix)).sort();
  if (names.length === 0) throw new RunNotFoundError(store.home, `${prefix}…`, await runNames(store));
  return Promise.all(names.map((name) => loadRun(store, name)));
}

/** Answers of one evaluation, one by one. */
export async function loadPredictions(store: Store, key: string): Promise<PredictionRow[]> {
  return readJsonLines(evaluationFiles(store, key).predictions, Prediction);
}

/** What happened, as lines: time, what, which part. */
export async function diary(store: Store, run: Run): Promise<{ time: string; type: string; part: string }[]> {
  const events = await readEvents(store, run.record.experiment);
  return events.map(({ time, type, phase }) => ({ time, type, part: phase ?? '' }));
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
 * Whether boxes collapsed over a phase: mean box count and size over its last fifth against its first. The appendix of the paper (E.1)
 * looks for a rise that does not end: boxes that cover ever more of the image.
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
