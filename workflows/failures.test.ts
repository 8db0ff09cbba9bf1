import { ActivityFailure, ApplicationFailure } from '@temporalio/common';
import { expect, test } from 'vitest';
import { isDamagedInput, recognisedFailure } from './failures.ts';

/** An error as a workflow sees it: the activity's own, wrapped. */
function wrapped(failure: ApplicationFailure): ActivityFailure {
  return new ActivityFailure('failed', 'trainRole', '1', 'NON_RETRYABLE_FAILURE', 'worker', failure);
}

test('what was recognised in a log is found behind an activity failure', () => {
  const details = [{ kind: 'CudaOutOfMemory', advice: 'x', overrides: { ppo_micro_batch_size: 4 } }, 'trace'];
  const error = wrapped(ApplicationFailure.create({ type: 'CudaOutOfMemory', message: 'm', details }));
  expect(recognisedFailure(error)).toEqual({
    kind: 'CudaOutOfMemory',
    overrides: { ppo_micro_batch_size: 4 },
  });
});

test('other failures suggest nothing', () => {
  expect(recognisedFailure(wrapped(ApplicationFailure.create({ details: [null, 'trace'] })))).toBeNull();
  expect(recognisedFailure(wrapped(ApplicationFailure.create({ message: 'm' })))).toBeNull();
  expect(recognisedFailure(new Error('m'))).toBeNull();
  expect(recognisedFailure('m')).toBeNull();
});

test('damaged input is told from the rest', () => {
  expect(isDamagedInput(wrapped(ApplicationFailure.create({ type: 'InputDamaged' })))).toBe(true);
  expect(isDamagedInput(wrapped(ApplicationFailure.create({ type: 'TrainerFailed' })))).toBe(false);
});
