/** The curves of an experiment: its phases laid end to end on one step axis, evaluations at the ends of phases. */
import { readScores } from '../../store/evaluations.ts';
import type { ExperimentRecord } from '../../store/experiments.ts';
import type { Store } from '../../store/layout.ts';
import { readPhaseMetrics } from '../../store/metrics.ts';
import { readProgress } from '../../store/progress.ts';

/** Metrics that the page plots, in order. */
export const PLOTTED = ['reward_mean', 'hit_rate', 'iou', 'box_count', 'box_size'] as const;

/** What the page draws; `x` is the global step. */
export type Curves = {
  experiment: string;
  state: string;
  current: string | null;
  phases: { id: string; role: string; from: number; to: number; step: number; restarts: number[] }[];
  metrics: Record<string, { x: number[]; y: (number | null)[]; role: string }[]>;
  accuracy: { x: number; checkpoint: string; strategy: string; value: number; interval: [number, number] }[];
};

/** Reads the curves of an experiment from its run directory. */
export async function readCurves(store: Store, record: ExperimentRecord): Promise<Curves> {
  const progress = await readProgress(store, record);
  const curves: Curves = {
    experiment: record.experiment,
    state: progress.state,
    current: progress.steps.find(({ state }) => state === 'running' || state === 'waiting')?.id ?? null,
    phases: [],
    metrics: Object.fromEntries(PLOTTED.map((name) => [name, []])),
    accuracy: [],
  };
  const ends = new Map<string | null, number>([[null, 0]]);
  let from = 0;
  for (const phase of record.phases) {
    const rows = await readPhaseMetrics(store, phase.key);
    const restarts = rows.flatMap((row, index) =>
      index > 0 && row.attempt !== rows[index - 1]?.attempt ? [from + row.step] : [],
    );
    curves.phases.push({
      id: phase.id,
      role: phase.name,
      from,
      to: from + phase.total_steps,
      step: rows.at(-1)?.step ?? 0,
      restarts,
    });
    for (const name of PLOTTED) {
      curves.metrics[name]?.push({
        x: rows.map((row) => from + row.step),
        y: rows.map((row) => row[name] ?? null),
        role: phase.name,
      });
    }
    from += phase.total_steps;
    ends.set(phase.id, from);
  }
  for (const evaluation of record.evaluations) {
    const scores = await readScores(store, evaluation.key).catch(() => null);
    for (const [strategy, score] of Object.entries(scores?.strategies ?? {})) {
      curves.accuracy.push({
        x: ends.get(evaluation.after) ?? 0,
        checkpoint: evaluation.checkpoint,
        strategy,
        value: score.accuracy,
        interval: score.interval,
      });
    }
  }
  return curves;
}
