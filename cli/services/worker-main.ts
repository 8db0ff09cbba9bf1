/** The Temporal worker: runs workflows and activities of one home. Usage: worker-main.ts HOME ADDRESS */
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { NativeConnection, Worker } from '@temporalio/worker';
import { PROJECT } from '../../activities/environment.ts';
import { createActivities } from '../../activities/index.ts';
import { openStore } from '../../store/layout.ts';
import { TASK_QUEUE, temporalTarget } from '../../temporal.config.ts';

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

const worker = await Worker.create({
  connection: await connected(),
  namespace: target.namespace,
  taskQueue: TASK_QUEUE,
  workflowsPath: path.join(PROJECT, 'workflows', 'index.ts'),
  activities: createActivities(openStore(home)),
  maxConcurrentActivityTaskExecutions: 64,
  // Heartbeats carry cancellations to activities: at the default throttle a cancel would take up to 8 s.
  maxHeartbeatThrottleInterval: '1s',
  defaultHeartbeatThrottleInterval: '1s',
  shutdownGraceTime: '1s',
});
await worker.run();
