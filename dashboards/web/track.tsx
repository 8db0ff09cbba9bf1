/** An experiment over time: a line for every part, what ran and waited as bars, faults and decisions as marks. */
import type { MarkView, PhaseView, TimelineView } from '../server/api.ts';
import { duration, partName } from './format.ts';

/** Shapes of the marks: what needs eyes is filled. */
const MARKS: Record<MarkView['kind'], { sign: string; bad: boolean }> = {
  failed: { sign: '✕', bad: true },
  waiting: { sign: '!', bad: true },
  'host lost': { sign: '✕', bad: true },
  'checkpoint damaged': { sign: '✕', bad: true },
  cancelled: { sign: '■', bad: true },
  retried: { sign: '↻', bad: false },
  restart: { sign: '┆', bad: false },
  reused: { sign: '○', bad: false },
  skipped: { sign: '»', bad: false },
  paused: { sign: '‖', bad: false },
  resumed: { sign: '▸', bad: false },
  'stopped early': { sign: '■', bad: false },
};

/** Time in which nothing happened takes at most this share of the line. */
const LONGEST_GAP = 0.03;

/**
 * Where moments lie on a line of length 1, in the order of time: hours in which nothing ran (the machine was off) are drawn short.
 * `busy` are times in which something ran, as [from, to] in milliseconds.
 */
export function timeScale(busy: readonly [number, number][]): (time: number) => number {
  const pieces: [number, number][] = [];
  for (const [from, to] of [...busy].sort((a, b) => a[0] - b[0])) {
    const last = pieces.at(-1);
    if (last !== undefined && from <= last[1]) last[1] = Math.max(last[1], to);
    else pieces.push([from, to]);
  }
  const work = pieces.reduce((sum, [from, to]) => sum + to - from, 0);
  const longest = Math.max(1, work) * LONGEST_GAP;
  const starts: number[] = [];
  let length = 0;
  for (const [index, [from, to]] of pieces.entries()) {
    const before = pieces[index - 1];
    if (before !== undefined) length += Math.min(longest, from - before[1]);
    starts.push(length);
    length += to - from;
  }
  return (time) => {
    const index = pieces.findLastIndex(([from]) => from <= time);
    const piece = pieces[index];
    if (piece === undefined || length === 0) return 0;
    const next = starts[index + 1] ?? length;
    return Math.min((starts[index] ?? 0) + (time - piece[0]), next) / length;
  };
}

/** The lines. What they show is in the table below them as well. */
export function Track({ timeline, phases }: { timeline: TimelineView; phases: PhaseView[] }) {
  const now = Date.now();
  const moments = (part: TimelineView['parts'][number]) => [
    ...part.spans.map(({ from, to }): [number, number] => [
      Date.parse(from),
      to === null ? now : Date.parse(to),
    ]),
    ...part.marks.map(({ time }): [number, number] => [Date.parse(time), Date.parse(time)]),
  ];
  const parts = timeline.parts.filter(({ spans, marks }) => spans.length + marks.length > 0);
  if (parts.length === 0) return null;
  const busy = parts.flatMap(moments);
  const place = timeScale(busy);
  const worked = parts
    .flatMap(({ spans }) => spans)
    .reduce((sum, { from, to }) => sum + (to === null ? now : Date.parse(to)) - Date.parse(from), 0);
  const marks = parts.flatMap(({ id, marks: own }) => own.map((mark) => ({ ...mark, id })));
  const told = [...marks, ...timeline.marks.map((mark) => ({ ...mark, id: '' }))]
    .filter(({ kind }) => kind !== 'reused')
    .sort((a, b) => (a.time < b.time ? -1 : 1));
  const kinds = [...new Set([...marks, ...timeline.marks].map(({ kind }) => kind))];
  return (
    <div class="track">
      <ol aria-label={`What ran when; ${duration(worked / 1000)} of work in all`}>
        {parts.map((part) => (
          <li key={part.id}>
            <span class="track-name">{nameOf(part.id)}</span>
            <span class="track-line">
              {part.spans.map((span) => {
                const [from, to] = [
                  place(Date.parse(span.from)),
                  place(span.to === null ? now : Date.parse(span.to)),
                ];
                const took = ((span.to === null ? now : Date.parse(span.to)) - Date.parse(span.from)) / 1000;
                return (
                  <span
                    key={span.from}
                    class="track-bar"
                    data-role={span.state === 'waiting' ? 'waiting' : roleOf(part.id, phases)}
                    data-end={span.end ?? 'open'}
                    title={`${span.state} ${duration(took)}${span.end === null ? ' so far' : `, ${span.end}`}`}
                    style={{ left: `${from * 100}%`, width: `${(to - from) * 100}%` }}
                  />
                );
              })}
              {[
                ...part.marks,
                ...timeline.marks.filter(({ kind }) => kind !== 'reused' && part === parts.at(-1)),
              ].map((mark) => (
                <span
                  key={`${mark.time} ${mark.kind}`}
                  class="track-mark"
                  data-bad={String(MARKS[mark.kind].bad)}
                  title={`${mark.kind}${mark.message === null ? '' : `: ${mark.message}`}`}
                  style={{ left: `${place(Date.parse(mark.time)) * 100}%` }}
                >
                  {MARKS[mark.kind].sign}
                </span>
              ))}
            </span>
          </li>
        ))}
      </ol>
      <p class="track-key soft">
        {duration(worked / 1000)} of work
        {kinds.map((kind) => (
          <span key={kind}>
            {' '}
            <span aria-hidden="true">{MARKS[kind].sign}</span> {kind}
          </span>
        ))}
      </p>
      {told.length === 0 ? null : (
        <details class="told" open={told.length <= 8}>
          <summary>Faults, restarts and decisions ({told.length})</summary>
          <ul>
            {told.map(({ time, kind, message, id }) => (
              <li key={`${time} ${kind} ${id}`}>
                <time dateTime={time}>{new Date(time).toLocaleString('en-GB')}</time>{' '}
                {id === '' ? '' : `${nameOf(id)}: `}
                <strong>{kind}</strong>
                {message === null ? '' : `, ${message}`}
              </li>
            ))}
          </ul>
        </details>
      )}
    </div>
  );
}

/** "iteration 1, perceiver"; evaluations by the checkpoint that they score. */
function nameOf(id: string): string {
  const match = /^evaluation\/(.+)$/.exec(id);
  return match?.[1] === undefined ? partName(id) : `evaluation of ${partName(match[1])}`;
}

const roleOf = (id: string, phases: PhaseView[]): string =>
  phases.find((phase) => phase.id === id)?.name ?? 'evaluation';
