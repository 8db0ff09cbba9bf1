/** Queue lengths of a phase's served model and reward service, recorded by time, laid on the phase's step axis. */
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { JsonLinesTail } from './tail.ts';

/** Curves that are made of load files, by the beginning of the files' names and the column. */
const LOADS = {
  model_running: ['model', 'running'],
  model_waiting: ['model', 'waiting'],
  reward_running: ['reward', 'running'],
  reward_waiting: ['reward', 'waiting'],
} as const;

/** Name of a curve of queue lengths. */
export type LoadMetric = keyof typeof LOADS;

/** Whether a metric is a queue length, and not logged by the trainer. */
export const isLoadMetric = (metric: string): metric is LoadMetric => Object.hasOwn(LOADS, metric);

const LoadRow = z.looseObject({ time: z.number(), running: z.number(), waiting: z.number() });
type LoadRow = z.infer<typeof LoadRow>;

/** Requests over time: seconds since 1970, ascending. */
export type LoadCurve = { times: Float64Array; values: Float64Array };

/** Servers write every five seconds; what they write within this time counts as one moment. */
const MOMENT_SECONDS = 5;

/** Follows the load files below phases' directories. */
export function openLoads() {
  const tails = new Map<string, JsonLinesTail<LoadRow>>();

  /** Load files of a phase, those of the model or of the reward service. */
  async function rows(phase: string, kind: 'model' | 'reward'): Promise<LoadRow[][]> {
    const directory = path.join(phase, 'services');
    const names = await readdir(directory).catch(() => [] as string[]);
    const found: LoadRow[][] = [];
    for (const name of names.sort()) {
      if (!new RegExp(`^${kind}(?:-\\d+)?\\.load\\.jsonl$`).test(name)) continue;
      const file = path.join(directory, name);
      const tail = tails.get(file) ?? new JsonLinesTail(file, LoadRow);
      tails.set(file, tail);
      await tail.update();
      found.push(tail.rows);
    }
    return found;
  }

  return {
    /** Names of the queue lengths that were recorded for the phase in this directory. */
    async names(phase: string): Promise<LoadMetric[]> {
      const names: LoadMetric[] = [];
      for (const [metric, [kind]] of Object.entries(LOADS))
        if (isLoadMetric(metric) && (await rows(phase, kind)).some((file) => file.length > 0))
          names.push(metric);
      return names;
    },

    /** A queue length over time, summed over the servers. */
    async curve(phase: string, metric: LoadMetric): Promise<LoadCurve> {
      const [kind, column] = LOADS[metric];
      return summed(
        (await rows(phase, kind)).map((file) => file.map((row) => ({ time: row.time, value: row[column] }))),
      );
    },
  };
}

/** The sum over servers, moment by moment; a server that said nothing in a moment adds nothing. */
export function summed(servers: { time: number; value: number }[][]): LoadCurve {
  const moments = new Map<number, { time: number; value: number }>();
  for (const rows of servers) {
    const own = new Map(rows.map((row) => [Math.floor(row.time / MOMENT_SECONDS), row]));
    for (const [moment, { time, value }] of own) {
      const known = moments.get(moment);
      moments.set(moment, { time: Math.max(time, known?.time ?? 0), value: value + (known?.value ?? 0) });
    }
  }
  const ordered = [...moments.values()].sort((a, b) => a.time - b.time);
  return {
    times: Float64Array.from(ordered, ({ time }) => time),
    values: Float64Array.from(ordered, ({ value }) => value),
  };
}

/**
 * Moments as steps of the phase, with fractions: a moment halfway between the ends of steps 3 and 4 is 3.5. Before the first step's end
 * the first step's own length counts, and nothing lies outside 0 and one step after the last.
 * @param steps ascending
 * @param ends seconds at which the steps ended; NaN where it is not known
 */
export function onSteps(times: Float64Array, steps: Float64Array, ends: Float64Array): Float64Array {
  const known: { step: number; end: number }[] = [];
  steps.forEach((step, index) => {
    const end = ends[index] ?? Number.NaN;
    if (end > (known.at(-1)?.end ?? Number.NEGATIVE_INFINITY)) known.push({ step, end });
  });
  const [first, second] = known;
  const last = known.at(-1);
  if (first === undefined || last === undefined) return new Float64Array(times.length);
  const opening = second === undefined ? 1 : (second.end - first.end) / (second.step - first.step);
  let place = 0;
  return times.map((time) => {
    if (time <= first.end) return Math.max(0, first.step - (first.end - time) / opening);
    while (place + 1 < known.length && (known[place + 1]?.end ?? 0) < time) place++;
    const before = known[place] ?? first;
    const after = known[place + 1];
    if (after === undefined) return last.step + Math.min(1, (time - last.end) / opening);
    return before.step + ((time - before.end) / (after.end - before.end)) * (after.step - before.step);
  });
}
