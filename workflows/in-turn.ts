import { CancellationScope, patched } from '@temporalio/workflow';
import type { Study } from '../studies/study.ts';
import { acquireSlot, releaseSlot } from './proxies.ts';

/**
 * Runs `body` while this workflow holds a slot of the machine, so that experiments take turns by priority. `waited` tells the body that time
 * has passed meanwhile. The hosts of a fleet are chosen, not shared, and have no slots.
 */
export async function inTurn<T>(
  where: { kind: 'phase' | 'evaluation'; experiment: string; part: string },
  placement: Study['placement'],
  body: (waited: boolean) => Promise<T>,
): Promise<T> {
  // Experiments that were begun before there were slots have none in their history.
  if (placement === 'fleet' || !patched('slots')) return body(false);
  try {
    return await body(await acquireSlot(where));
  } finally {
    await CancellationScope.nonCancellable(() => releaseSlot());
  }
}
