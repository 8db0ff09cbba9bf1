/** Activities as workflows see them: types only, with the time-outs that fit what each one does. */
import { ActivityCancellationType, type ActivityOptions, proxyActivities } from '@temporalio/workflow';
import type { Activities } from '../activities/index.ts';

const NEVER_RETRIED = [
  'ConfigInvalid',
  'ModelUnloadable',
  'DatasetInvalid',
  'ServerUnstartable',
  'TrainerFailed',
  'EnvironmentBroken',
  'StudyInvalidError',
  'CorruptFileError',
  'StrategyUnfit',
];

/** Book-keeping: quick (but for the hashing of files), retried until it works, elsewhere within seconds when its worker dies. */
export const {
  phaseIsComplete,
  evaluationIsComplete,
  recordEvent,
  loadOutline,
  loadPhase,
  loadEvaluation,
  verifyModels,
  inheritCheckpoint,
  checkAcceptance,
  retryByRule,
  decide,
  stopsEarly,
  releaseSlot,
} = proxyActivities<Activities>({
  startToCloseTimeout: '5 minutes',
  heartbeatTimeout: '10s',
  retry: { initialInterval: '1s', maximumInterval: '30s', nonRetryableErrorTypes: NEVER_RETRIED },
});

/** Hours of work or supervision: heartbeats find a dead worker in seconds, and a cancel is waited for until all is cleaned up. */
export const LONG_WORK: ActivityOptions = {
  startToCloseTimeout: '30 days',
  heartbeatTimeout: '10s',
  cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
  retry: {
    initialInterval: '1s',
    backoffCoefficient: 1.5,
    maximumInterval: '15s',
    nonRetryableErrorTypes: NEVER_RETRIED,
  },
};

/** May wait for as long as others compute. */
export const { acquireSlot } = proxyActivities<Activities>(LONG_WORK);
