/** The updates by which a person decides about a waiting phase, and their checks: synchronous, so that a wrong key is refused at once. */
import { defineUpdate } from '@temporalio/workflow';
import { parseOverrides } from '../studies/overrides.ts';
import type { RetryDecision, SkipDecision } from './types.ts';

/** Try the phase again, with other hyper-parameters or from an earlier step where given. */
export const retryPhaseUpdate = defineUpdate<void, [RetryDecision]>('retryPhase');
/** Leave the phase as it is and go on. */
export const skipPhaseUpdate = defineUpdate<void, [SkipDecision]>('skipPhase');
/** End the experiment here; nothing is deleted. */
export const abortPhaseUpdate = defineUpdate<void, []>('abortPhase');

/** Throws OverridesInvalidError, or a sentence about the wrong key. */
export function checkRetry(decision: RetryDecision): void {
  const { overrides, fromCheckpoint, ...others } = decision;
  const unknown = Object.keys(others);
  if (unknown.length > 0)
    throw new TypeError(`${unknown.join(', ')} is not part of a retry: give overrides and fromCheckpoint.`);
  if (fromCheckpoint != null && !(Number.isInteger(fromCheckpoint) && fromCheckpoint > 0))
    throw new TypeError(`fromCheckpoint must be a committed step such as 12, not ${String(fromCheckpoint)}.`);
  parseOverrides(overrides ?? {});
}

/** Throws a sentence about the wrong key. */
export function checkSkip(decision: SkipDecision): void {
  if (decision.use !== 'start' && decision.use !== 'checkpoint')
    throw new TypeError(`skip's "use" must be "start" or "checkpoint", not "${String(decision.use)}".`);
}
