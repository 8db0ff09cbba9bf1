/** Where a run stands, read from the run directory alone. */
import { committedSteps } from './checkpoints.ts';
import { readScores } from './evaluations.ts';
import { type ExperimentEvent, type ExperimentRecord, readEvents } from './experiments.ts';
import type { Store } from './layout.ts';
import { type AttemptMetricRow, readPhaseMetrics } from './metrics.ts';

/**
 * State of one phase or evaluation of an experiment; a "waiting" phase wants a decision, a "pending" one has not begun (and waits for a slot
 * of the machine where it has a message).
 */
export type StepProgress = {
  id: string;
  key: string;
  kind: 'phase' | 'evaluation';
  state: 'pending' | 'running' | 'waiting' | 'completed' | 'reused' | 'skipped' | 'failed';
  step: number;
  total_steps: number;
  committed: number;
  latest: AttemptMetricRow | null;
  message: string | null;
};

/** State of an experiment; "queued" while its next part waits for a slot of the machine. */
export type Progress = {
  experiment: string;
  state: 'pending' | 'queued' | 'running' | 'waiting' | 'paused' | 'completed' | 'failed' | 'cancelled';
  message: string | null;
  steps: StepProgress[];
  /** What was found damaged since the start, a sentence each; it has been set aside and is made again. */
  damage: string[];
  seconds_left: number | null;
};

/** Message of a part that was ended by a pause or a cancel (workflows/record-outcome.ts). */
const CANCELLED = 'cancelled';

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
  const end = events.findLast((event) => event.phase === null && event.type !== 'experiment-stopped-early');
  const gate = order.find((step) => step.state === 'waiting');
  const own = end === undefined ? 'pending' : (EXPERIMENT_STATES[end.type] ?? 'running');
  const queued = order.find((step) => step.state === 'pending' && step.message !== null);
  const state =
    own !== 'running' ? own : gate !== undefined ? 'waiting' : queued !== undefined ? 'queued' : own;
  if (own !== 'running')
    for (const step of order)
      if (step.state === 'running' || step.state === 'waiting')
        Object.assign(step, { state: 'pending', message: null });
  return {
    experiment: record.experiment,
    state,
    message: messageOf(end) ?? gate?.message ?? queued?.message ?? null,
    steps: order,
    damage: events
      .filter(({ type }) => type.endsWith('-damaged'))
      .map(({ phase, detail }) => {
        const aside = typeof detail.aside === 'string' ? `, set aside as ${detail.aside}` : '';
        return `${phase ?? record.experiment} found damage: ${String(detail.message)}${aside}; it is made again`;
      }),
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

/** State of an experiment by the newest event about the whole of it; every other such event means that it runs. */
export const EXPERIMENT_STATES: Partial<Record<ExperimentEvent['type'], Progress['state']>> = {
  'experiment-completed': 'completed',
  'experiment-failed': 'failed',
  'experiment-cancelled': 'cancelled',
  'experiment-paused': 'paused',
};

/** State of a phase or an evaluation by its newest event since the experiment's last start. */
export function stateOf(event: ExperimentEvent | undefined): StepProgress['state'] {
  // A pause or a cancel ends what is under way at a checkpoint.
  if (event?.type.endsWith('-failed') && event.detail.message === CANCELLED) return 'running';
  switch (event?.type.split('-')[1]) {
    case 'started':
    case 'retried':
    case 'damaged':
      return 'running';
    case 'waiting':
      return 'waiting';
    case 'completed':
      return 'completed';
    case 'reused':
      return 'reused';
    case 'skipped':
      return 'skipped';
    case 'failed':
      return 'failed';
    default:
      return 'pending';
  }
}

/** The reason that an event gives, if it gives one. */
export function messageOf(event: ExperimentEvent | undefined): string | null {
  const message = event?.detail.message;
  return typeof message === 'string' ? message : null;
}

function timeLeft(steps: StepProgress[]): number | null {
  const seen = steps.flatMap((step) => step.latest?.step_seconds ?? []);
  if (seen.length === 0) return null;
  const perStep = seen.reduce((sum, value) => sum + value, 0) / seen.length;
  return steps
    .filter((step) => step.state === 'pending' || step.state === 'running')
    .reduce(
      (sum, step) =>
        sum +
        (step.kind === 'phase'
          ? (step.total_steps - step.step) * perStep + OVERHEAD_SECONDS
          : OVERHEAD_SECONDS),
      0,
    );
}
