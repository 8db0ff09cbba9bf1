/** What `p2r watch` and `p2r status` know of a run: read from the run directory alone. */
import { committedSteps } from '../store/checkpoints.ts';
import { readScores } from '../store/evaluations.ts';
import { type ExperimentEvent, type ExperimentRecord, readEvents } from '../store/experiments.ts';
import type { Store } from '../store/layout.ts';
import { type AttemptMetricRow, readPhaseMetrics } from '../store/metrics.ts';

/** State of one phase or evaluation of an experiment. */
export type StepProgress = {
  id: string;
  key: string;
  kind: 'phase' | 'evaluation';
  state: 'waiting' | 'running' | 'completed' | 'reused' | 'failed';
  step: number;
  total_steps: number;
  committed: number;
  latest: AttemptMetricRow | null;
  message: string | null;
};

/** State of an experiment. */
export type Progress = {
  experiment: string;
  state: 'waiting' | 'running' | 'completed' | 'failed' | 'cancelled';
  message: string | null;
  steps: StepProgress[];
  seconds_left: number | null;
};

/** Rough seconds of an evaluation or of a server's start, until the run itself has shown better. */
const OVERHEAD_SECONDS = 40;

/** Reads an experiment's progress since its last start. */
export async function readProgress(store: Store, record: ExperimentRecord): Promise<Progress> {
  const all = await readEvents(store, record.experiment);
  const begin = all.findLastIndex((event) => event.type === 'experiment-started');
  const events = begin < 0 ? [] : all.slice(begin);
  const last = (id: string) => events.findLast((event) => event.phase === id);
  const order: StepProgress[] = [];
  for (const evaluation of record.evaluations.filter((item) => item.after === null))
    order.push(await evaluationProgress(store, evaluation, last(evaluation.id)));
  for (const phase of record.phases) {
    const rows = await readPhaseMetrics(store, phase.key);
    order.push({
      id: phase.id,
      key: phase.key,
      kind: 'phase',
      state: stateOf(last(phase.id)),
      step: rows.at(-1)?.step ?? 0,
      total_steps: phase.total_steps,
      committed: (await committedSteps(store, phase.key)).at(-1) ?? 0,
      latest: rows.at(-1) ?? null,
      message: messageOf(last(phase.id)),
    });
    for (const evaluation of record.evaluations.filter((item) => item.after === phase.id))
      order.push(await evaluationProgress(store, evaluation, last(evaluation.id)));
  }
  const end = events.findLast((event) => event.phase === null);
  const state =
    end === undefined
      ? 'waiting'
      : end.type === 'experiment-completed'
        ? 'completed'
        : end.type === 'experiment-failed'
          ? 'failed'
          : end.type === 'experiment-cancelled'
            ? 'cancelled'
            : 'running';
  return {
    experiment: record.experiment,
    state,
    message: messageOf(end),
    steps: order,
    seconds_left: timeLeft(order),
  };
}

async function evaluationProgress(
  store: Store,
  evaluation: { id: string; key: string },
  event: ExperimentEvent | undefined,
): Promise<StepProgress> {
  const done = (await readScores(store, evaluation.key).catch(() => null)) !== null;
  return {
    id: evaluation.id,
    key: evaluation.key,
    kind: 'evaluation',
    state: stateOf(event),
    step: done ? 1 : 0,
    total_steps: 1,
    committed: done ? 1 : 0,
    latest: null,
    message: messageOf(event),
  };
}

function stateOf(event: ExperimentEvent | undefined): StepProgress['state'] {
  const verb = event?.type.split('-')[1];
  return verb === 'started'
    ? 'running'
    : verb === 'completed' || verb === 'reused' || verb === 'failed'
      ? verb
      : 'waiting';
}

function messageOf(event: ExperimentEvent | undefined): string | null {
  const message = event?.detail.message;
  return typeof message === 'string' ? message : null;
}

function timeLeft(steps: StepProgress[]): number | null {
  const seen = steps.flatMap((step) => step.latest?.step_seconds ?? []);
  if (seen.length === 0) return null;
  const perStep = seen.reduce((sum, value) => sum + value, 0) / seen.length;
  return steps
    .filter((step) => step.state === 'waiting' || step.state === 'running')
    .reduce(
      (sum, step) =>
        sum +
        (step.kind === 'phase'
          ? (step.total_steps - step.step) * perStep + OVERHEAD_SECONDS
          : OVERHEAD_SECONDS),
      0,
    );
}
