/** When the parts of an experiment ran and waited, and what went wrong or was decided: its events as spans and marks. Pure. */
import type { ExperimentEvent, ExperimentRecord } from '../../store/experiments.ts';
import type { MarkView, SpanView, TimelineView } from './api.ts';

/** Events that are worth a mark, and what it is called. */
const MARKS: Partial<Record<ExperimentEvent['type'], MarkView['kind']>> = {
  'phase-failed': 'failed',
  'evaluation-failed': 'failed',
  'phase-waiting': 'waiting',
  'phase-retried': 'retried',
  'phase-skipped': 'skipped',
  'phase-reused': 'reused',
  'evaluation-reused': 'reused',
  'host-lost': 'host lost',
  'checkpoint-damaged': 'checkpoint damaged',
  'experiment-failed': 'failed',
  'experiment-cancelled': 'cancelled',
  'experiment-paused': 'paused',
  'experiment-resumed': 'resumed',
  'experiment-stopped-early': 'stopped early',
};

/** `restarts`: seconds since 1970 at which a later attempt of a phase showed its first step, by phase id. */
export function timeline(
  record: Pick<ExperimentRecord, 'phases' | 'evaluations'>,
  events: readonly ExperimentEvent[],
  restarts: ReadonlyMap<string, (number | null)[]>,
): TimelineView {
  const parts = new Map<string, { id: string; spans: SpanView[]; marks: MarkView[] }>();
  const own = (id: string) => {
    const known = parts.get(id) ?? { id, spans: [], marks: [] };
    parts.set(id, known);
    return known;
  };
  const evaluations = (after: string | null) =>
    record.evaluations.filter((evaluation) => evaluation.after === after).map(({ id }) => id);
  for (const id of [
    ...evaluations(null),
    ...record.phases.flatMap((phase) => [phase.id, ...evaluations(phase.id)]),
  ])
    own(id);
  const marks: MarkView[] = [];

  const close = (id: string, time: string, end: SpanView['end']) => {
    const open = own(id).spans.at(-1);
    if (open !== undefined && open.to === null) Object.assign(open, { to: time, end });
  };
  for (const { time, type, phase, detail } of events) {
    const kind = MARKS[type];
    const message = typeof detail.message === 'string' ? detail.message : null;
    if (kind !== undefined) (phase === null ? marks : own(phase).marks).push({ time, kind, message });
    if (phase === null) {
      if (type !== 'experiment-resumed' && type !== 'experiment-stopped-early')
        for (const id of parts.keys()) close(id, time, 'interrupted');
      continue;
    }
    switch (type) {
      case 'phase-started':
      case 'evaluation-started':
        close(phase, time, 'interrupted');
        own(phase).spans.push({ from: time, to: null, state: 'running', end: null });
        break;
      case 'phase-waiting':
        close(phase, time, 'failed');
        own(phase).spans.push({ from: time, to: null, state: 'waiting', end: null });
        break;
      case 'phase-completed':
      case 'evaluation-completed':
        close(phase, time, 'completed');
        break;
      case 'phase-failed':
      case 'evaluation-failed':
        close(phase, time, 'failed');
        break;
      case 'phase-retried':
      case 'phase-skipped':
        close(phase, time, 'interrupted');
        break;
      default:
    }
  }
  for (const [id, times] of restarts)
    for (const seconds of times)
      if (seconds !== null)
        own(id).marks.push({ time: new Date(seconds * 1000).toISOString(), kind: 'restart', message: null });
  for (const part of parts.values()) part.marks.sort((a, b) => (a.time < b.time ? -1 : 1));
  return { parts: [...parts.values()], marks };
}
