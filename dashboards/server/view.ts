/** From what lies in a run directory to what the page shows. Pure: files in, answers out. */
import type { Scores } from '../../store/evaluations.ts';
import {
  type ExperimentEvent,
  type ExperimentRecord,
  evaluatedStep,
  stepOffsets,
} from '../../store/experiments.ts';
import { EXPERIMENT_STATES, messageOf, stateOf } from '../../store/progress.ts';
import type {
  AttemptView,
  EvaluationView,
  ExperimentDetail,
  ExperimentSummary,
  PartState,
  PhaseView,
  RunState,
  ScoreView,
} from './api.ts';
import { timeline } from './timeline.ts';

/** What is known of one phase on disk. */
export type PhaseReading = {
  latest: Record<string, number | null> | null;
  attempts: AttemptView[];
  /** Where a later attempt took over: its first step, and the second (since 1970) at which that step ended. */
  restarts: { step: number; time: number | null }[];
  stepSeconds: number | null;
  metrics: string[];
};

/** Everything that is known of one experiment. */
export type ExperimentReading = {
  record: ExperimentRecord;
  events: ExperimentEvent[];
  /** By phase key. */
  phases: Map<string, PhaseReading>;
  /** By evaluation key; only finished evaluations are in it. */
  scores: Map<string, Scores>;
  problems: string[];
};

/** What happened since the experiment's last start: an earlier start's failures are history. */
function currentEvents(events: ExperimentEvent[]): ExperimentEvent[] {
  const begin = events.findLastIndex((event) => event.type === 'experiment-started');
  return begin < 0 ? events : events.slice(begin);
}

/** State of the experiment by the newest event that is about the whole of it; a waiting phase apart. */
export function runState(events: ExperimentEvent[]): { state: RunState; message: string | null } {
  const newest = currentEvents(events).findLast(
    (event) => event.phase === null && event.type !== 'experiment-stopped-early',
  );
  const state = newest === undefined ? 'pending' : (EXPERIMENT_STATES[newest.type] ?? 'running');
  return { state, message: messageOf(newest) };
}

function partState(event: ExperimentEvent | undefined, run: RunState): PartState {
  const state = stateOf(event);
  const open = state === 'running' || state === 'waiting';
  return open && run !== 'running' ? 'stopped' : state;
}

function phaseViews(reading: ExperimentReading, run: RunState): PhaseView[] {
  const offsets = stepOffsets(reading.record);
  const events = currentEvents(reading.events);
  return reading.record.phases.map((phase, index) => {
    const found = reading.phases.get(phase.key);
    const from = offsets[index]?.from ?? 0;
    const newest = events.findLast((event) => event.phase === phase.id);
    return {
      id: phase.id,
      key: phase.key,
      name: phase.name,
      iteration: phase.iteration,
      state: partState(newest, run),
      message: messageOf(newest),
      from,
      to: from + phase.total_steps,
      step: found?.latest?.step ?? 0,
      total_steps: phase.total_steps,
      attempts: found?.attempts ?? [],
      restarts: (found?.restarts ?? []).map(({ step }) => from + step),
      step_seconds: found?.stepSeconds ?? null,
      latest: found?.latest ?? null,
      metrics: found?.metrics ?? [],
    };
  });
}

function evaluationViews(reading: ExperimentReading, run: RunState): EvaluationView[] {
  const events = currentEvents(reading.events);
  return reading.record.evaluations
    .map((evaluation) => {
      const newest = events.findLast((event) => event.phase === evaluation.id);
      return {
        id: evaluation.id,
        key: evaluation.key,
        checkpoint: evaluation.checkpoint,
        after: evaluation.after,
        pair: evaluation.pair ?? false,
        at: evaluatedStep(reading.record, evaluation),
        state: partState(newest, run),
        message: messageOf(newest),
        strategies: scoreViews(reading.scores.get(evaluation.key)),
      };
    })
    .sort((a, b) => a.at - b.at);
}

function scoreViews(scores: Scores | undefined): ScoreView[] {
  return Object.entries(scores?.strategies ?? {}).map(([strategy, score]) => ({
    strategy,
    accuracy: score.accuracy,
    interval: score.interval,
    correct: score.correct,
    count: score.count,
    hit_rate: score.hit_rate,
    iou: score.iou,
    box_count: score.box_count,
    box_size: score.box_size,
  }));
}

/**
 * Seconds of training that remain: every phase's missing steps at its own pace, else at the newest pace of its role, else at the newest
 * of any. Null when nothing runs, or when no step has been timed.
 */
export function secondsLeft(phases: PhaseView[], run: RunState): number | null {
  const timed = phases.filter((phase) => phase.step_seconds !== null);
  if (run !== 'running' || timed.length === 0) return null;
  let left = 0;
  for (const phase of phases) {
    if (['completed', 'reused', 'skipped'].includes(phase.state)) continue;
    const paced =
      phase.step_seconds ??
      timed.findLast((other) => other.name === phase.name)?.step_seconds ??
      timed.at(-1)?.step_seconds ??
      0;
    left += Math.max(0, phase.total_steps - phase.step) * paced;
  }
  return left;
}

/** Everything that the experiment's page shows, its curves apart. */
export function experimentDetail(reading: ExperimentReading): ExperimentDetail {
  const { record, events, problems } = reading;
  const { state, message } = runState(events);
  const phases = phaseViews(reading, state);
  const evaluations = evaluationViews(reading, state);
  const scores = evaluations
    .filter(({ pair }) => !pair)
    .flatMap((evaluation) => evaluation.strategies.map((score) => ({ ...score, after: evaluation.after })));
  const trained = phases.flatMap((phase) => (phase.latest === null ? [] : [phase.latest]));
  const rowTimes = trained.flatMap((row) => row.time ?? []);
  const times = [
    ...events.slice(-1).map((event) => Date.parse(event.time)),
    ...rowTimes.map((seconds) => seconds * 1000),
  ].filter(Number.isFinite);
  const current = [...phases, ...evaluations].find((part) => part.state === 'running')?.id ?? null;
  const stopped = phases.find((phase) => phase.state === 'waiting');
  const textOnly = phases.length > 0 && phases.every(({ name }) => name === 'direct');
  const own = scores.filter(({ strategy }) => strategy === (textOnly ? 'direct' : 'p2r'));
  return {
    experiment: record.experiment,
    study: record.study,
    seed: record.seed,
    created_at: record.created_at,
    state: state === 'running' && stopped !== undefined ? 'waiting' : state,
    message: message ?? stopped?.message ?? null,
    current,
    iteration: phases.findLast((phase) => phase.state !== 'pending')?.iteration ?? null,
    builds_on: null,
    waiting:
      stopped === undefined
        ? null
        : { phase: stopped.id, message: stopped.message ?? 'It waits for a decision.' },
    step: phases.reduce((sum, phase) => sum + Math.min(phase.step, phase.total_steps), 0),
    total_steps: phases.reduce((sum, phase) => sum + phase.total_steps, 0),
    reward_mean: trained.at(-1)?.reward_mean ?? null,
    best_accuracy: own.length === 0 ? null : Math.max(...own.map(({ accuracy }) => accuracy)),
    base_accuracy: own.find(({ after }) => after === null)?.accuracy ?? null,
    updated_at: times.length === 0 ? null : new Date(Math.max(...times)).toISOString(),
    phases,
    evaluations,
    timeline: timeline(
      record,
      events,
      new Map(
        record.phases.map(({ id, key }) => [
          id,
          (reading.phases.get(key)?.restarts ?? []).map(({ time }) => time),
        ]),
      ),
    ),
    seconds_left: secondsLeft(phases, state),
    problems,
  };
}

/** The list's line of an experiment. */
export function experimentSummary(reading: ExperimentReading): ExperimentSummary {
  const {
    phases: _p,
    evaluations: _e,
    timeline: _t,
    seconds_left: _s,
    problems: _r,
    ...summary
  } = experimentDetail(reading);
  return summary;
}

/**
 * Lineage: a fork stands below its parent. A phase's key tells everything that went into it, so an experiment that was not forked stands
 * below the oldest one that it shares most of its first phases with.
 */
export function lineage(
  records: Pick<ExperimentRecord, 'experiment' | 'created_at' | 'phases' | 'lineage'>[],
): Map<string, { experiment: string; phases: number }> {
  const parents = new Map<string, { experiment: string; phases: number }>();
  const shared = (a: (typeof records)[number], b: (typeof records)[number]) => {
    let count = 0;
    while (count < a.phases.length && a.phases[count]?.key === b.phases[count]?.key) count++;
    return count;
  };
  const oldestFirst = [...records].sort((a, b) => (a.created_at < b.created_at ? -1 : 1));
  oldestFirst.forEach((record, index) => {
    const parent = records.find(({ experiment }) => experiment === record.lineage?.parent);
    if (parent !== undefined) {
      parents.set(record.experiment, { experiment: parent.experiment, phases: shared(record, parent) });
      return;
    }
    for (const older of oldestFirst.slice(0, index)) {
      const phases = shared(record, older);
      if (phases > (parents.get(record.experiment)?.phases ?? 0))
        parents.set(record.experiment, { experiment: older.experiment, phases });
    }
  });
  return parents;
}
