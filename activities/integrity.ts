/** Checks of what is about to be used, at every use: a file may have been damaged since the last one. */
import { ApplicationFailure } from '@temporalio/common';
import { checkpointFault } from '../store/checkpoints.ts';
import type { ModelRef } from '../workflows/types.ts';

/**
 * Throws InputDamaged when the model is a phase's checkpoint and not whole: the experiment then computes it again from the checkpoint before.
 * `directory` is where it lies.
 */
export async function requireWhole(model: ModelRef, directory: string): Promise<void> {
  if (model.kind !== 'phase') return;
  const fault = await checkpointFault(directory);
  if (fault === null) return;
  throw ApplicationFailure.nonRetryable(
    `The checkpoint ${model.name} is damaged (${fault}) and has to be computed again.`,
    'InputDamaged',
  );
}
