/**
 * The Temporal worker: runs workflows and activities of one home, in the fleets that P2R_FLEETS names (all by default).
 * Usage: worker-main.ts HOME ADDRESS
 */
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { NativeConnection, Worker } from '@temporalio/worker';
import { PROJECT } from '../../activities/environment.ts';
import { createFleetActivities } from '../../activities/fleet.ts';
import { createActivities } from '../../activities/index.ts';
import { machineSlots } from '../../activities/slots.ts';
import { openStore } from '../../store/layout.ts';
import { type Fleet, TASK_QUEUE, temporalTarget, workerFleets } from '../../temporal.config.ts';
import { CPU_QUEUE, GPU_QUEUE, hostQueue } from '../../workflows/queues.ts';
import { surviveFullDisk } from './output.ts';

surviveFullDisk();
const [home, address] = process.argv.slice(2);
if (home === undefined || address === undefined) throw new Error('Usage: worker-main.ts HOME ADDRESS');
const target = temporalTarget(address);

async function connected(): Promise<NativeConnection> {
  for (;;) {
    try {
      return await NativeConnection.connect(target.connection);
    } catch (error) {
      console.error(
        `Temporal at ${address} is not there yet (${error instanceof Error ? error.message : error})`,
      );
      await sleep(300);
    }
  }
}

const connection = await connected();
const activities = createActivities(openStore(home), machineSlots(process.env.P2R_SLOTS));
const common = {
  connection,
  namespace: target.namespace,
  maxConcurrentActivityTaskExecutions: 64,
  // Heartbeats carry cancellations to activities: at the default throttle a cancel would take up to 8 s.
  maxHeartbeatThrottleInterval: '1s',
  defaultHeartbeatThrottleInterval: '1s',
  shutdownGraceTime: '1s',
} as const;

const own = hostQueue(process.env.P2R_HOST ?? os.hostname());
const fleets: Record<Fleet, () => Promise<Worker>[]> = {
  control: () => [
    Worker.create({
      ...common,
      taskQueue: TASK_QUEUE,
      workflowsPath: path.join(PROJECT, 'workflows', 'index.ts'),
      activities,
    }),
  ],
  cpu: () => [Worker.create({ ...common, taskQueue: CPU_QUEUE, activities })],
  gpu: () => [
    Worker.create({ ...common, taskQueue: GPU_QUEUE, activities: createFleetActivities(own) }),
    Worker.create({ ...common, taskQueue: own, activities }),
  ],
};

const workers = await Promise.all(workerFleets(process.env.P2R_FLEETS).flatMap((fleet) => fleets[fleet]()));
await Promise.all(workers.map((worker) => worker.run()));
