/** Waiting for a slot of this machine, and giving it back. A slot belongs to the run of the workflow that asks. */
import { Context, getClient } from '@temporalio/activity';
import { WorkflowNotFoundError } from '@temporalio/client';
import { appendEvent } from '../store/experiments.ts';
import type { Store } from '../store/layout.ts';
import { drawTicket, leave, queue, setSlots, takeSlot } from '../store/slots.ts';
import { beating, pause, untilCancelled } from './heartbeats.ts';

/** Time between two looks at the queue, and between two looks at whether those in it are still there. */
const LOOK_MS = 500;
const CHECK_MS = 5000;

/** The number of slots that P2R_SLOTS says, 1 without it. Throws on what is no number. */
export function machineSlots(value: string | undefined): number {
  if (value === undefined || value === '') return 1;
  const slots = Number(value);
  if (!Number.isInteger(slots) || slots < 1)
    throw new TypeError(`P2R_SLOTS must be a whole number of at least 1, not "${value}".`);
  return slots;
}

/** Whether a run of a workflow is open. One that Temporal does not know is not; where Temporal does not answer, it counts as open. */
async function isOpen(workflow: string, run: string): Promise<boolean> {
  try {
    const { status } = await getClient().workflow.getHandle(workflow, run).describe();
    return status.name === 'RUNNING' || status.name === 'PAUSED';
  } catch (error) {
    return !(error instanceof WorkflowNotFoundError);
  }
}

/** Activity factory; the machine has `slots`. */
export function createSlotActivities(store: Store, slots: number) {
  /** Takes those out whose workflow has ended without a word: it was terminated, or reset. */
  async function dropEnded(own: string): Promise<void> {
    for (const { owner, workflow } of await queue(store))
      if (owner !== own && !(await isOpen(workflow, owner))) await leave(store, owner);
  }

  return {
    /** Waits for a slot; true when it was not to be had at once. */
    async acquireSlot({
      kind,
      ...where
    }: {
      kind: 'phase' | 'evaluation';
      experiment: string;
      part: string;
    }): Promise<boolean> {
      const { workflowExecution } = Context.current().info;
      if (workflowExecution === undefined) throw new TypeError('A slot is held by a workflow.');
      const { workflowId, runId: owner } = workflowExecution;
      using _beat = beating(() => ({ waiting: where.part }));
      await setSlots(store, slots);
      await drawTicket(store, { owner, workflow: workflowId, ...where });
      let waited = false;
      await untilCancelled(async (signal) => {
        for (let checked = 0; !signal.aborted; await pause(LOOK_MS, signal)) {
          if (await takeSlot(store, owner)) return;
          if (Date.now() - checked > CHECK_MS) {
            checked = Date.now();
            await dropEnded(owner);
            if (await takeSlot(store, owner)) return;
          }
          if (waited) continue;
          waited = true;
          const ahead = (await queue(store)).filter(
            (ticket) => ticket.owner !== owner && ticket.slot !== null,
          );
          const names = ahead.map(({ experiment, part }) => `${part} of ${experiment}`).join(', ');
          await appendEvent(store, where.experiment, {
            type: `${kind}-queued`,
            phase: where.part,
            key: null,
            detail: { message: `waits for its turn on this machine; now: ${names}` },
          });
        }
      });
      return waited;
    },

    /** Gives the slot back, or leaves the queue. */
    async releaseSlot(): Promise<void> {
      const { workflowExecution } = Context.current().info;
      if (workflowExecution !== undefined) await leave(store, workflowExecution.runId);
    },
  };
}
