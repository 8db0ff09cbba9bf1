/** Names of the task queues; the control queue is TASK_QUEUE of temporal.config.ts. */

/** Of data preparation, which needs only the shared file system. */
export const CPU_QUEUE = 'p2r-cpu';

/** On which hosts with GPUs offer themselves. */
export const GPU_QUEUE = 'p2r-gpu';

/** Of one host. */
export function hostQueue(host: string): string {
  return `${GPU_QUEUE}-${host}`;
}
