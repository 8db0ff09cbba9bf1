import { CancellationScope, isCancellation, rootCause } from '@temporalio/workflow';
import { recordEvent } from './proxies.ts';
import type { RunState } from './types.ts';

/** Runs `body` and writes how it ended (completed, cancelled, failed with the root cause) as state and event. */
export async function recordOutcome<T>(
  event: {
    kind: 'phase' | 'evaluation' | 'experiment';
    experiment: string;
    phase: string | null;
    key: string | null;
  },
  enter: (state: RunState) => void,
  body: () => Promise<T>,
): Promise<T> {
  const { kind, ...where } = event;
  try {
    const result = await body();
    enter('completed');
    await recordEvent({ ...where, type: `${kind}-completed`, detail: {} });
    return result;
  } catch (error) {
    const cancelled = isCancellation(error);
    enter(cancelled ? 'cancelled' : 'failed');
    const type = cancelled && kind === 'experiment' ? 'experiment-cancelled' : (`${kind}-failed` as const);
    const message = cancelled ? 'cancelled' : rootCause(error);
    await CancellationScope.nonCancellable(() =>
      recordEvent({ ...where, type, detail: { message: message ?? 'unknown' } }),
    );
    throw error;
  }
}
