/** Text for people: progress lines and tables. */
import Table from 'cli-table3';
import { readScores } from '../store/evaluations.ts';
import type { ExperimentRecord } from '../store/experiments.ts';
import type { Store } from '../store/layout.ts';
import type { Progress, StepProgress } from '../store/progress.ts';
import type { PlannedStep } from '../store/reuse.ts';

const percent = (value: number | null | undefined) =>
  value === null || value === undefined ? '-' : `${(value * 100).toFixed(1)} %`;
const fixed = (value: number | null | undefined, digits: number) =>
  value === null || value === undefined ? '-' : value.toFixed(digits);

/** A line for people, on stderr: stdout is for data. */
export const say = (line: string): boolean => process.stderr.write(`${line}\n`);

/** `1 h 02 min`, `3 min 20 s`, `45 s`. */
export function duration(seconds: number): string {
  const s = Math.round(seconds);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${String(s % 60).padStart(2, '0')} s`;
  return `${Math.floor(s / 3600)} h ${String(Math.floor((s % 3600) / 60)).padStart(2, '0')} min`;
}

/** One line on a phase or evaluation. */
export function stepLine(step: StepProgress): string {
  const mark = {
    pending: '·',
    running: '▶',
    waiting: '?',
    completed: '✔',
    reused: '♻',
    skipped: '⤼',
    failed: '✘',
  }[step.state];
  if (step.state === 'pending' && step.message !== null) return `${mark} ${step.id}  ${step.message}`;
  if (step.kind === 'evaluation') return `${mark} ${step.id}${step.state === 'reused' ? '  (reused)' : ''}`;
  const m = step.latest;
  const numbers =
    m === null
      ? ''
      : `  reward ${fixed(m.reward_mean, 3)}  hit rate ${fixed(m.hit_rate, 3)}  IoU ${fixed(m.iou, 3)}  boxes ${fixed(m.box_count, 2)}  ${fixed(m.step_seconds, 1)} s/step`;
  return `${mark} ${step.id}  step ${step.step}/${step.total_steps}${step.state === 'reused' ? '  (reused)' : ''}${numbers}`;
}

/** The whole progress as lines. */
export function progressLines(progress: Progress): string[] {
  const left =
    progress.seconds_left === null || progress.state !== 'running'
      ? ''
      : `, about ${duration(progress.seconds_left)} left`;
  return [
    `${progress.experiment}: ${progress.state}${left}`,
    ...progress.steps.map((step) => `  ${stepLine(step)}`),
    ...progress.damage.map((sentence) => `  ! ${sentence}`),
  ];
}

/** What a run would do, a line a part, with a sum at the end. */
export function planLines(steps: PlannedStep[]): string[] {
  const longest = Math.max(0, ...steps.map(({ id }) => id.length));
  const lines = steps.flatMap((step) => [
    `${step.action.padEnd(9)} ${step.id.padEnd(longest)}  ${step.why}${step.made_at === null ? '' : `, ${step.made_at.slice(0, 16).replace('T', ' ')}`}  (${step.key})`,
    ...(step.warning === null ? [] : [`          warning: ${step.warning}`]),
  ]);
  const count = (action: PlannedStep['action']) => steps.filter((step) => step.action === action).length;
  const parts = (['reuse', 'continue', 'run', 'skip'] as const)
    .filter((action) => count(action) > 0)
    .map((action) => `${count(action)} to ${action}`);
  return [...lines, `${steps.length} parts: ${parts.join(', ')}.`];
}

/** Rows of the final table: one per strategy and checkpoint. */
export async function resultRows(store: Store, record: ExperimentRecord) {
  const rows = [];
  for (const evaluation of record.evaluations) {
    const scores = await readScores(store, evaluation.key);
    if (scores === null) continue;
    for (const [strategy, s] of Object.entries(scores.strategies)) {
      rows.push({ checkpoint: evaluation.checkpoint, strategy, ...s });
    }
  }
  return rows;
}

/** The table a run ends with. */
export async function resultTable(store: Store, record: ExperimentRecord): Promise<string> {
  const table = new Table({
    head: [
      'checkpoint',
      'strategy',
      'accuracy',
      '95 % interval',
      'hit rate',
      'mean IoU',
      'boxes',
      'box size (px)',
      'n',
    ],
    style: { head: [], border: [] },
  });
  for (const row of await resultRows(store, record)) {
    table.push([
      row.checkpoint,
      row.strategy,
      percent(row.accuracy),
      `${percent(row.interval[0])} to ${percent(row.interval[1])}`,
      fixed(row.hit_rate, 3),
      fixed(row.iou, 3),
      fixed(row.box_count, 2),
      fixed(row.box_size, 0),
      String(row.count),
    ]);
  }
  return table.toString();
}
