/** The table of docs/reliability.md. */
import { readFile } from 'node:fs/promises';
import { writeFileAtomic } from '../../store/files.ts';
import type { Comparison } from './compare.ts';
import type { Disturbance, Outcome } from './disturb.ts';

/** A whole run of the suite. `startSeconds`: from a trainer's launch to its first trained step, undisturbed, the longest of all phases. */
export type ChaosReport = Disturbance & {
  seed: number;
  faults: number;
  date: string;
  machine: string;
  startSeconds: number;
  undisturbedSeconds: number;
  disturbedSeconds: number;
  impossible: { name: string; why: string }[];
  comparison: Comparison;
  left: string[];
};

const BEGIN = '<!-- chaos: written by npm run chaos -->';
const END = '<!-- chaos: end -->';

/** Everything that should not have been, in sentences; none means that the run proves what it should. */
export function complaints({ violations, comparison, left }: ChaosReport): string[] {
  return [
    ...violations,
    ...comparison.differences,
    ...left.map((command) => `left behind by p2r down: ${command}`),
  ];
}

/** One row a kind of fault: how often, seconds to the next result (median, longest), steps computed again, how it went on. */
export function faultTable(outcomes: Outcome[]): string {
  const names = [...new Set(outcomes.map(({ fault }) => fault))].sort();
  const rows = names.map((name) => {
    const mine = outcomes.filter(({ fault }) => fault === name);
    const cell = (by: 'step' | 'answer') => {
      const seconds = mine.filter((outcome) => outcome.by === by).map((outcome) => outcome.seconds);
      return seconds.length === 0
        ? '–'
        : `${median(seconds).toFixed(1)} / ${Math.max(...seconds).toFixed(1)}`;
    };
    const again = mine.map(({ recomputed }) => recomputed);
    const waits = mine.filter(({ gate }) => gate.length > 0).length;
    return `| ${name} | ${mine.length} | ${cell('step')} | ${cell('answer')} | ${sum(again)} (${Math.max(...again)}) | ${waits === 0 ? 'by itself' : `${waits} of ${mine.length} waited at the gate, retried`} |`;
  });
  return [
    '| fault | times | s to the next trained step (median / longest) | s to the next answer | steps computed again (most by one) | went on |',
    '| --- | --- | --- | --- | --- | --- |',
    ...rows,
  ].join('\n');
}

function sum(values: number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function median(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

/** The report as Markdown. */
export function markdown(report: ChaosReport): string {
  const { comparison, outcomes } = report;
  const found = complaints(report);
  const messages = [...new Set(outcomes.flatMap(({ gate }) => gate))];
  return [
    `\`npm run chaos -- --faults ${report.faults} --seed ${report.seed}\` on ${report.date}, ${report.machine}: ${outcomes.length} faults in ${Math.round(report.disturbedSeconds / 60)} min (undisturbed: ${Math.round(report.undisturbedSeconds)} s). A trainer's own start, from launch to the end of its first step: ${report.startSeconds.toFixed(1)} s at most, undisturbed.`,
    '',
    found.length === 0
      ? `Final weights and optimiser states of ${comparison.checkpoints} phases, ${comparison.steps} metric rows and ${comparison.predictions} predictions are those of the undisturbed run, byte for byte; no metric line is there twice, no committed step was computed again, and in ${report.looks} looks at the processes there never were two trainers in one phase.`
      : `**It did not hold:** ${found.join('; ')}.`,
    '',
    'Time is counted from the beginning of a fault to the end of the first step that began after the fault was over (or to the next answer, while evidence is collected or a checkpoint evaluated), so faults that last (frozen, away, full) are part of it.',
    '',
    faultTable(outcomes),
    '',
    ...(messages.length === 0 ? [] : ['What the gate said:', '', ...messages.map((text) => `- ${text}`), '']),
    ...report.impossible.map(({ name, why }) => `Not injected: ${name} (${why}).`),
  ].join('\n');
}

/** Puts the report between its marks in a Markdown file. Throws when the marks are missing. */
export async function writeReport(file: string, report: ChaosReport): Promise<void> {
  const text = await readFile(file, 'utf8');
  const begin = text.indexOf(BEGIN);
  const end = text.indexOf(END);
  if (begin < 0 || end < begin) throw new Error(`${file} has no "${BEGIN}" … "${END}".`);
  await writeFileAtomic(
    file,
    `${text.slice(0, begin + BEGIN.length)}\n${markdown(report)}\n${text.slice(end)}`,
  );
}
