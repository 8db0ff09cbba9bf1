/** A host of a fleet in a process of its own, so that a test can kill it. Usage: host-main.ts HOME ADDRESS HOST STUCK_AT_STEP */
import { NativeConnection, Worker } from '@temporalio/worker';
import { createFleetActivities } from '../../activities/fleet.ts';
import { openStore } from '../../store/layout.ts';
import { GPU_QUEUE, hostQueue } from '../../workflows/queues.ts';
import { gpuFreeActivities } from './gpu-free-world.ts';

const [home = '', address = '', host = '', stuckAt = '0'] = process.argv.slice(2);
const connection = await NativeConnection.connect({ address });
const common = {
  connection,
  maxHeartbeatThrottleInterval: '200ms',
  defaultHeartbeatThrottleInterval: '200ms',
} as const;
const activities = gpuFreeActivities(
  openStore(home),
  {
    metrics: () => ({ reward_mean: host === 'a' ? 1 : 2 }),
    failure: () => null,
    before: async (_, step) => {
      if (step === Number(stuckAt)) await new Promise(() => undefined);
    },
    accuracy: () => 0.5,
  },
  [],
);
const workers = await Promise.all([
  Worker.create({ ...common, taskQueue: GPU_QUEUE, activities: createFleetActivities(hostQueue(host)) }),
  Worker.create({ ...common, taskQueue: hostQueue(host), activities }),
]);
await Promise.all(workers.map((worker) => worker.run()));
