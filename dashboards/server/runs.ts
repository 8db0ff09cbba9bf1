/** Reads experiments for the page. Growing files are read once and then followed; nothing is ever written. */
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { evaluationFiles, readScores, type Scores } from '../../store/evaluations.ts';
import {
  ExperimentEvent,
  type ExperimentRecord,
  readExperiment,
  stepOffsets,
} from '../../store/experiments.ts';
import { InvalidIdError, type Store } from '../../store/layout.ts';
import { listAttempts } from '../../store/metrics.ts';
import type { Curves, ExperimentList } from './api.ts';
import { lastRow, MetricColumns, mergeColumns, type PhaseCurve, restartRows, smoothed } from './columns.ts';
import { downsample, windowOf } from './downsample.ts';
import { isLoadMetric, type LoadMetric, onSteps, openLoads } from './load.ts';
import { fileSignature, JsonLinesTail } from './tail.ts';
import {
  type ExperimentReading,
  experimentDetail,
  experimentSummary,
  lineage,
  type PhaseReading,
  runState,
} from './view.ts';

/** The window and the metrics of a request for curves; `smooth` is the weight of the moving average, 0 for none. */
export type CurveQuery = {
  metrics: string[];
  /** Ids of the phases whose curves are wanted; all when absent. */
  phases?: string[] | undefined;
  from?: number | undefined;
  to?: number | undefined;
  points: number;
  smooth: number;
};

type PhaseCache = { attempts: Map<number, MetricColumns>; curve: PhaseCurve };

/** Memory for curves; phases that were not asked for longest are forgotten first and read again when they are. */
const CURVE_BYTES = 384 * 1024 * 1024;
/** Steps over which the present pace is measured. */
const PACE_STEPS = 10;

/** A home's experiments, with memory of what has been read. */
export type Runs = ReturnType<typeof openRuns>;

/** Opens a home for reading. */
export function openRuns(store: Store) {
  const records = new Map<string, { signature: string; record: ExperimentRecord | null }>();
  const events = new Map<string, JsonLinesTail<ExperimentEvent>>();
  const phases = new Map<string, PhaseCache>();
  const scores = new Map<string, { signature: string; scores: Scores | null }>();
  const loads = openLoads();
  const newest = new Map<string, { signature: string; row: Record<string, number | null> | null }>();

  async function phaseCurve(key: string, problems: string[]): Promise<PhaseCache> {
    const known = phases.get(key);
    const cache = known ?? { attempts: new Map(), curve: mergeColumns(new Map()) };
    phases.delete(key);
    phases.set(key, cache);
    const present = await listAttempts(store, key);
    let changed = false;
    for (const attempt of cache.attempts.keys()) {
      if (present.includes(attempt)) continue;
      cache.attempts.delete(attempt);
      changed = true;
    }
    for (const attempt of present) {
      const columns = cache.attempts.get(attempt) ?? new MetricColumns(metricsFile(key, attempt));
      cache.attempts.set(attempt, columns);
      if (await columns.update()) changed = true;
      if (columns.badLines.length > 0) problems.push(badLines(columns));
    }
    if (changed) cache.curve = mergeColumns(cache.attempts);
    forgetOldCurves(key);
    return cache;
  }

  function forgetOldCurves(keep: string): void {
    const size = ({ attempts }: PhaseCache) =>
      [...attempts.values()].reduce((sum, { bytes }) => sum + bytes, 0);
    let bytes = [...phases.values()].reduce((sum, cache) => sum + size(cache), 0);
    for (const [key, cache] of phases) {
      if (bytes <= CURVE_BYTES) return;
      if (key === keep) continue;
      bytes -= size(cache);
      phases.delete(key);
    }
  }

  const metricsFile = (key: string, attempt: number) =>
    path.join(store.attempt(key, attempt), 'metrics.jsonl');

  async function readPhase(key: string, problems: string[]): Promise<PhaseReading> {
    const { attempts, curve } = await phaseCurve(key, problems);
    const seconds = [...curve.values('step_seconds').slice(-PACE_STEPS)].filter(
      (value) => !Number.isNaN(value),
    );
    const last = curve.steps.length - 1;
    const latest: Record<string, number | null> | null =
      last < 0
        ? null
        : Object.fromEntries(
            ['step', 'time', ...curve.names].map((name) => {
              const value = (name === 'step' ? curve.steps : curve.values(name))[last];
              return [name, value === undefined || Number.isNaN(value) ? null : value];
            }),
          );
    return {
      latest,
      attempts: [...attempts].map(([attempt, columns]) => ({
        attempt,
        first_step: columns.values('step')[0] ?? null,
        last_step: columns.values('step').at(-1) ?? null,
      })),
      restarts: restarts(curve),
      stepSeconds:
        seconds.length === 0 ? null : seconds.reduce((sum, value) => sum + value, 0) / seconds.length,
      metrics: [...curve.names, ...(await loads.names(store.phase(key)))],
    };
  }

  /** A metric's points on the phase's own step axis: logged by the trainer, or a queue length recorded by time; none of another metric. */
  async function points(
    key: string,
    curve: PhaseCurve,
    metric: string,
  ): Promise<{ x: Float64Array; y: Float64Array }> {
    if (!isLoadMetric(metric))
      return { x: curve.steps, y: curve.names.includes(metric) ? curve.values(metric) : new Float64Array() };
    const { times, values } = await loads.curve(store.phase(key), metric);
    return { x: onSteps(times, curve.steps, curve.values('time')), y: values };
  }

  /** What the list needs of a phase: its newest row, found without reading the rest. */
  async function glanceAtPhase(key: string): Promise<PhaseReading> {
    const glance: PhaseReading = { latest: null, attempts: [], restarts: [], stepSeconds: null, metrics: [] };
    for (const attempt of (await listAttempts(store, key)).reverse()) {
      const file = metricsFile(key, attempt);
      const signature = await fileSignature(file);
      const known = newest.get(file);
      const row = known?.signature === signature ? known.row : await lastRow(file);
      newest.set(file, { signature, row });
      if (row !== null) return { ...glance, latest: row, stepSeconds: row.step_seconds ?? null };
    }
    return glance;
  }

  async function readEvaluation(key: string, problems: string[]): Promise<Scores | null> {
    const signature = await fileSignature(evaluationFiles(store, key).scores);
    const known = scores.get(key);
    if (known?.signature === signature) return known.scores;
    try {
      const read = await readScores(store, key);
      scores.set(key, { signature, scores: read });
      return read;
    } catch (error) {
      problems.push((error as Error).message);
      return null;
    }
  }

  async function readEvents(experiment: string, problems: string[]): Promise<ExperimentEvent[]> {
    const tail = events.get(experiment) ?? new JsonLinesTail(store.eventsFile(experiment), ExperimentEvent);
    events.set(experiment, tail);
    await tail.update();
    if (tail.badLines.length > 0) problems.push(badLines(tail));
    return tail.rows;
  }

  async function record(experiment: string): Promise<ExperimentRecord | null> {
    const signature = await fileSignature(store.experimentFile(experiment));
    const known = records.get(experiment);
    if (known?.signature === signature) return known.record;
    const read = await readExperiment(store, experiment);
    records.set(experiment, { signature, record: read });
    return read;
  }

  async function readRecord(
    record: ExperimentRecord,
    phaseReader: (key: string, problems: string[]) => Promise<PhaseReading>,
  ): Promise<ExperimentReading> {
    const problems: string[] = [];
    const reading: ExperimentReading = {
      record,
      events: await readEvents(record.experiment, problems),
      phases: new Map(),
      scores: new Map(),
      problems,
    };
    for (const { key } of record.phases) reading.phases.set(key, await phaseReader(key, problems));
    for (const { key } of record.evaluations) {
      const found = await readEvaluation(key, problems);
      if (found !== null) reading.scores.set(key, found);
    }
    return reading;
  }

  async function* loadCsv(record: ExperimentRecord, metric: LoadMetric): AsyncGenerator<string> {
    yield `${['global_step', 'phase', 'step', 'time', metric].join(',')}\n`;
    let offset = 0;
    for (const phase of record.phases) {
      const { curve } = await phaseCurve(phase.key, []);
      const { times, values } = await loads.curve(store.phase(phase.key), metric);
      const steps = onSteps(times, curve.steps, curve.values('time'));
      let piece = '';
      steps.forEach((step, index) => {
        piece += `${[round(step + offset), phase.id, round(step), times[index], values[index]].join(',')}\n`;
      });
      yield piece;
      offset += phase.total_steps;
    }
  }

  return {
    /** The plan of an experiment, or null when there is none of that name. */
    record,

    /** Everything known of an experiment without its curves, or null when there is none of that name. */
    async read(experiment: string): Promise<ExperimentReading | null> {
      const found = await record(experiment);
      return found === null ? null : readRecord(found, readPhase);
    },

    /** What the experiment's page shows beside its curves, or null when there is none of that name. */
    async detail(experiment: string) {
      const reading = await this.read(experiment);
      return reading === null ? null : experimentDetail(reading);
    },

    /** All experiments, newest first; those whose record cannot be read are named with the reason. */
    async list(): Promise<ExperimentList> {
      const list: ExperimentList = { experiments: [], unreadable: [] };
      const records: ExperimentRecord[] = [];
      for (const name of await experimentNames(store)) {
        try {
          const found = await record(name);
          if (found === null) continue;
          list.experiments.push(experimentSummary(await readRecord(found, glanceAtPhase)));
          records.push(found);
        } catch (error) {
          list.unreadable.push({ experiment: name, message: (error as Error).message });
        }
      }
      const parents = lineage(records);
      for (const summary of list.experiments) summary.builds_on = parents.get(summary.experiment) ?? null;
      list.experiments.sort((a, b) => (a.created_at < b.created_at ? 1 : -1));
      return list;
    },

    /** The asked-for metrics inside the asked-for window, at most `points` points a phase and metric. */
    async curves(record: ExperimentRecord, query: CurveQuery): Promise<Curves> {
      const offsets = stepOffsets(record);
      const from = query.from ?? 0;
      const to = query.to ?? offsets.at(-1)?.to ?? 0;
      const curves: Curves = { experiment: record.experiment, from, to, metrics: {} };
      for (const metric of query.metrics) curves.metrics[metric] = [];
      for (const [index, phase] of record.phases.entries()) {
        if (query.phases?.includes(phase.id) === false) continue;
        const offset = offsets[index]?.from ?? 0;
        const { curve } = await phaseCurve(phase.key, []);
        const span = Math.min(to - from, phase.total_steps);
        for (const metric of query.metrics) {
          const { x, y } = await points(phase.key, curve, metric);
          if (y.length === 0) continue;
          const [begin, end] = windowOf(x, from - offset, to - offset);
          const steps = x.subarray(begin, end);
          const values = y.subarray(begin, end);
          const kept = downsample(steps, values, query.points, span);
          const smooth = query.smooth > 0 ? smoothed(y, query.smooth).subarray(begin, end) : null;
          curves.metrics[metric]?.push({
            phase: phase.id,
            x: kept.map((point) => round((steps[point] ?? 0) + offset)),
            y: column(values, kept),
            smooth: smooth === null ? null : column(smooth, kept),
            total: steps.length,
          });
        }
      }
      return curves;
    },

    /** Every step of the asked-for metrics (all that were logged when empty) as CSV, a piece at a time; a queue length by its moments. */
    async *csv(record: ExperimentRecord, metrics: string[]): AsyncGenerator<string> {
      const [only = ''] = metrics;
      if (isLoadMetric(only)) {
        yield* loadCsv(record, only);
        return;
      }
      const read = [];
      for (const phase of record.phases) read.push({ phase, curve: (await phaseCurve(phase.key, [])).curve });
      const names = metrics.length > 0 ? metrics : [...new Set(read.flatMap(({ curve }) => curve.names))];
      yield `${['global_step', 'phase', 'step', 'attempt', ...names].join(',')}\n`;
      let offset = 0;
      for (const { phase, curve } of read) {
        const columns = names.map((name) => curve.values(name));
        let piece = '';
        for (let index = 0; index < curve.steps.length; index++) {
          const step = curve.steps[index] ?? 0;
          const cells = columns.map((values) => (Number.isNaN(values[index]) ? '' : values[index]));
          piece += `${[step + offset, phase.id, step, curve.attempts[index], ...cells].join(',')}\n`;
          if (piece.length < 1 << 18) continue;
          yield piece;
          piece = '';
        }
        yield piece;
        offset += phase.total_steps;
      }
    },

    /** True while the experiment's newest word about itself is that it has started. */
    async isRunning(experiment: string): Promise<boolean> {
      return runState(await readEvents(experiment, [])).state === 'running';
    },
  };
}

/** Moments between steps are sent to a thousandth of a step. */
const round = (step: number) => Math.round(step * 1000) / 1000;

/** Steps and times at which a later attempt took over. */
function restarts(curve: PhaseCurve): { step: number; time: number | null }[] {
  const times = curve.values('time');
  return restartRows(curve).map((row) => {
    const time = times[row];
    return { step: curve.steps[row] ?? 0, time: time === undefined || Number.isNaN(time) ? null : time };
  });
}

function column(values: Float64Array, kept: number[]): (number | null)[] {
  return kept.map((point) => {
    const value = values[point];
    return value === undefined || Number.isNaN(value) ? null : value;
  });
}

/** Names of the directories that can hold an experiment; [] when the home has none. */
export async function experimentNames(store: Store): Promise<string[]> {
  const entries = await readdir(store.runs, { withFileTypes: true }).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  return entries.filter((entry) => entry.isDirectory() && isId(store, entry.name)).map(({ name }) => name);
}

function isId(store: Store, name: string): boolean {
  try {
    store.run(name);
    return true;
  } catch (error) {
    if (error instanceof InvalidIdError) return false;
    throw error;
  }
}

function badLines({ file, badLines }: { file: string; badLines: number[] }): string {
  const lines = badLines.slice(0, 5).join(', ') + (badLines.length > 5 ? ', …' : '');
  return badLines.length === 1
    ? `${file}: line ${lines} cannot be read and is left out.`
    : `${file}: lines ${lines} cannot be read and are left out.`;
}
