import { expect, test } from 'vitest';
import type { ExperimentEvent, ExperimentRecord } from '../../store/experiments.ts';
import { timeline } from './timeline.ts';

const record: Pick<ExperimentRecord, 'phases' | 'evaluations'> = {
  phases: [
    {
      iteration: 1,
      name: 'perceiver',
      id: 'iteration-1/perceiver',
      key: 'p',
      total_steps: 4,
      skipped: false,
    },
  ],
  evaluations: [
    { id: 'evaluation/base', key: 'b', checkpoint: 'base', after: null },
    { id: 'evaluation/p', key: 'e', checkpoint: 'p', after: 'iteration-1/perceiver' },
  ],
};
const at = (minute: number) => `2026-01-01T00:${String(minute).padStart(2, '0')}:00.000Z`;
const event = (
  minute: number,
  type: ExperimentEvent['type'],
  phase: string | null = null,
  message?: string,
): ExperimentEvent => ({
  time: at(minute),
  type,
  phase,
  key: null,
  detail: message === undefined ? {} : { message },
});

test('a failure, the wait at the gate, the retry and a restarted trainer are spans and marks', () => {
  const { parts } = timeline(
    record,
    [
      event(0, 'experiment-started'),
      event(1, 'evaluation-reused', 'evaluation/base'),
      event(2, 'phase-started', 'iteration-1/perceiver'),
      event(4, 'phase-waiting', 'iteration-1/perceiver', 'loss is not finite'),
      event(9, 'phase-retried', 'iteration-1/perceiver'),
      event(9, 'phase-started', 'iteration-1/perceiver'),
      event(12, 'phase-completed', 'iteration-1/perceiver'),
      event(12, 'evaluation-started', 'evaluation/p'),
    ],
    new Map([['iteration-1/perceiver', [Date.parse(at(10)) / 1000, null]]]),
  );
  expect(parts.map(({ id }) => id)).toEqual(['evaluation/base', 'iteration-1/perceiver', 'evaluation/p']);
  expect(parts[0]).toMatchObject({ spans: [], marks: [{ kind: 'reused' }] });
  expect(parts[1]?.spans).toEqual([
    { from: at(2), to: at(4), state: 'running', end: 'failed' },
    { from: at(4), to: at(9), state: 'waiting', end: 'interrupted' },
    { from: at(9), to: at(12), state: 'running', end: 'completed' },
  ]);
  expect(parts[1]?.marks.map(({ kind, message }) => [kind, message])).toEqual([
    ['waiting', 'loss is not finite'],
    ['retried', null],
    ['restart', null],
  ]);
  expect(parts[2]?.spans).toEqual([{ from: at(12), to: null, state: 'running', end: null }]);
});

test('whatever runs ends with its experiment, and a new start begins anew', () => {
  const { parts, marks } = timeline(
    record,
    [
      event(0, 'experiment-started'),
      event(1, 'phase-started', 'iteration-1/perceiver'),
      event(3, 'experiment-cancelled'),
      event(8, 'experiment-started'),
      event(9, 'phase-started', 'iteration-1/perceiver'),
    ],
    new Map(),
  );
  expect(parts[1]?.spans.map(({ from, to, end }) => [from, to, end])).toEqual([
    [at(1), at(3), 'interrupted'],
    [at(9), null, null],
  ]);
  expect(marks.map(({ kind }) => kind)).toEqual(['cancelled']);
});
