import { CancellationScope, isCancellation, rootCause } from '@temporalio/workflow';
import { recordEvent } from './proxies.ts';
import type { RunState, StepResult } from './types.ts';

type Where = { experiment: string; phase: string | null; key: string | null };

/** Runs `body` and writes how it ended (completed, reused, skipped, cancelled, failed with the root cause) as state and event. */
export async function recordOutcome<T extends StepResult | StepResult[]>(
  { kind, event }: { kind: 'phase' | 'evaluation' | 'experiment'; event: () => Where },
  enter: (state: RunState) => void,
  body: () => Promise<T>,
): Promise<T> {
  try {
    const result = await body();
    const how = Array.isArray(result) || result.how === 'computed' ? 'completed' : result.how;
    enter(how);
    // An evaluation is never skipped; an experiment only completes.
    await recordEvent({ ...event(), type: `${kind}-${how}` as 'phase-completed', detail: {} });
    return result;
  } catch (error) {
    const cancelled = isCancellation(error);
    enter(cancelled ? 'cancelled' : 'failed');
    const type = cancelled && kind === 'experiment' ? 'experiment-cancelled' : (`${kind}-failed` as const);
    const message = cancelled ? 'cancelled' : (rootCause(error) ?? 'unknown');
    await CancellationScope.nonCancellable(() => recordEvent({ ...event(), type, detail: { message } }));
    throw error;
  }
}
