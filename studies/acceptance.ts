/** Whether a finished phase is taken: the gate's rules over its training curve. */
import type { AcceptanceRule } from './study.ts';

/** A step's metrics, null where undefined. */
type Row = { [metric: string]: number | null };

function meanOf(rows: Row[], metric: string): number | null {
  const values = rows.flatMap((row) => row[metric] ?? []);
  return values.length === 0 ? null : values.reduce((sum, value) => sum + value, 0) / values.length;
}

/**
 * Rules that the curve (ascending by step) does not meet, one sentence each; empty when the phase is accepted. A metric that was
 * never logged does not meet its rule: nothing is accepted unseen.
 */
export function unmetRules(rules: AcceptanceRule[], rows: Row[]): string[] {
  return rows.length === 0 && rules.length > 0
    ? ['no step was logged']
    : rules.flatMap((rule) => {
        const end = meanOf(rows.slice(-rule.window), rule.metric);
        const start = meanOf(rows.slice(0, rule.window), rule.metric);
        if (end === null || start === null) return [`${rule.metric} was not logged`];
        const shown = `${rule.metric} is ${round(end)} over the last ${Math.min(rule.window, rows.length)} steps`;
        const found: string[] = [];
        if (rule.at_least !== undefined && end < rule.at_least)
          found.push(`${shown}, below ${rule.at_least}`);
        if (rule.at_most !== undefined && end > rule.at_most) found.push(`${shown}, above ${rule.at_most}`);
        if (rule.at_least_times_start !== undefined && end < rule.at_least_times_start * start)
          found.push(`${shown}, below ${rule.at_least_times_start} times its start (${round(start)})`);
        return found;
      });
}

function round(value: number): string {
  return String(Number(value.toPrecision(3)));
}

/**
 * Whether to end after the last of these held-out accuracies (the base's first, then one an iteration): none of the last `patience`
 * exceeds the best before them by at least `min_gain`.
 */
export function shouldStopEarly(accuracies: number[], rule: { patience: number; min_gain: number }): boolean {
  if (accuracies.length <= rule.patience) return false;
  const before = Math.max(...accuracies.slice(0, -rule.patience));
  return Math.max(...accuracies.slice(-rule.patience)) < before + rule.min_gain;
}
