/**
 * Where the long activities of a phase or evaluation run: on the one worker there is, or on a host of a fleet. What belongs together (the
 * frozen role's server, the reward service, the trainer) shares a host, as they speak over its loopback.
 */
import { ActivityFailure, proxyActivities, TimeoutFailure } from '@temporalio/workflow';
import type { FleetActivities } from '../activities/fleet.ts';
import type { Activities } from '../activities/index.ts';
import type { Study } from '../studies/study.ts';
import { LONG_WORK } from './proxies.ts';
import { CPU_QUEUE, GPU_QUEUE } from './queues.ts';

/** Activities that must share a host. */
export type HostActivities = Pick<
  Activities,
  'collectEvidence' | 'evaluateModel' | 'serveModel' | 'serveRewards' | 'trainRole'
>;

/** Activities that need only the shared file system. */
export type DataActivities = Pick<Activities, 'prepareScenes' | 'preparePerceiverSet' | 'prepareDirectSet'>;

type Placement = Study['placement'];

const here = proxyActivities<Activities>(LONG_WORK);

const { claimHost } = proxyActivities<FleetActivities>({
  taskQueue: GPU_QUEUE,
  startToCloseTimeout: '1 minute',
});

/** Data preparation, on the CPU fleet when there is one. */
export function dataActivities(placement: Placement): DataActivities {
  return placement === 'fleet'
    ? proxyActivities<DataActivities>({ ...LONG_WORK, taskQueue: CPU_QUEUE })
    : here;
}

/** A host whose queue nobody has looked at for this long is gone. */
const HOST_SILENCE = '30s';

/**
 * Runs `body` with activities that share a host. In a fleet that is the first host that offers itself; when it dies, `lost` is told and
 * the body runs again on another, where everything goes on from the disk.
 */
export async function onOneHost<T>(
  placement: Placement,
  lost: (queue: string) => Promise<void>,
  body: (host: HostActivities) => Promise<T>,
): Promise<T> {
  if (placement !== 'fleet') return body(here);
  for (;;) {
    const taskQueue = await claimHost();
    const host = proxyActivities<HostActivities>({
      ...LONG_WORK,
      taskQueue,
      scheduleToStartTimeout: HOST_SILENCE,
    });
    try {
      return await body(host);
    } catch (error) {
      if (!isHostLost(error)) throw error;
      await lost(taskQueue);
    }
  }
}

/** Whether an activity failed because its host's queue was not looked at. */
function isHostLost(error: unknown): boolean {
  return (
    error instanceof ActivityFailure &&
    error.cause instanceof TimeoutFailure &&
    error.cause.timeoutType === 'SCHEDULE_TO_START'
  );
}
