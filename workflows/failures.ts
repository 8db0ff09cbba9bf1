/** Telling failures apart by the type that an activity gave them. */
import { ApplicationFailure, TemporalFailure } from '@temporalio/common';

/** Whether a checkpoint that something builds on was found damaged (and set aside), however deep the failure lies. */
export function isDamagedInput(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at instanceof TemporalFailure ? at.cause : undefined)
    if (at instanceof ApplicationFailure && at.type === 'InputDamaged') return true;
  return false;
}
