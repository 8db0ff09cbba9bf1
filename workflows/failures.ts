/** Telling failures apart by the type that an activity gave them. */
import { ApplicationFailure, TemporalFailure } from '@temporalio/common';

/** Whether a checkpoint that something builds on was found damaged (and set aside), however deep the failure lies. */
export function isDamagedInput(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at instanceof TemporalFailure ? at.cause : undefined)
    if (at instanceof ApplicationFailure && at.type === 'InputDamaged') return true;
  return false;
}

/** What failures.ts of the activities recognised in a log: its kind, and values to retry the phase with. */
export type Recognised = { kind: string; overrides: Record<string, number | string> };

/** The recognised failure behind an error, or null. Activities put it first among the details of their failure. */
export function recognisedFailure(error: unknown): Recognised | null {
  for (let at = error; at instanceof Error; at = at instanceof TemporalFailure ? at.cause : undefined) {
    const [first] = at instanceof ApplicationFailure ? (at.details ?? []) : [];
    if (typeof first === 'object' && first !== null && 'kind' in first && 'overrides' in first) {
      const { kind, overrides } = first as Recognised;
      return { kind, overrides };
    }
  }
  return null;
}
