/** What a long activity does besides its work: heartbeats, and telling apart why it is being cancelled. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Context } from '@temporalio/activity';
import { WorkflowNotFoundError } from '@temporalio/client';

/** Time that Temporal has to say whether a workflow is open. */
const DESCRIBE_MS = 5000;

/**
 * Time between two heartbeats, two of which may be missed before the server gives an activity up. Every one is a transaction of Temporal's
 * database, on cores that the trainer wants: with one a second from each of a phase's three long activities the server took 2.4 % of a core,
 * with one in three seconds 1.6 %.
 */
const HEARTBEAT_MS = 3000;

/** Time a workflow has to cancel what an ended activity was the reason for. */
const REACTION_MS = 300;

/** Activities that send pointers of their own. */
const pointing = new WeakSet<Context>();

/** The heartbeats of all long activities that run on this worker. */
const beats = new Set<() => void>();

/**
 * Sends a heartbeat with a pointer (never progress itself) every three seconds until disposed. A cancel comes as the answer to one; so when
 * a long activity ends, those that served it send one at once and are not waited for.
 */
export function beating(pointer: () => Record<string, unknown>): Disposable {
  const context = Context.current();
  pointing.add(context);
  const beat = () => context.heartbeat(pointer());
  beat();
  beats.add(beat);
  const timer = setInterval(beat, HEARTBEAT_MS);
  return {
    [Symbol.dispose]: () => {
      clearInterval(timer);
      beats.delete(beat);
      setTimeout(() => {
        for (const other of beats) other();
      }, REACTION_MS).unref();
    },
  };
}

/** An activity that sends heartbeats while it runs, so that Temporal misses a dead worker in seconds and not when a time-out has passed. */
export function withHeartbeats<Input, Output>(
  run: (input: Input) => Promise<Output>,
): (input: Input) => Promise<Output> {
  return async (input) => {
    const context = Context.current();
    const timer = setInterval(() => {
      if (!pointing.has(context)) context.heartbeat();
    }, HEARTBEAT_MS);
    try {
      return await run(input);
    } finally {
      clearInterval(timer);
    }
  };
}

/** Rejects (CancelledFailure) as soon as the activity is cancelled, for use in a race. */
export function cancelled(): Promise<never> {
  return Context.current().cancelled;
}

/**
 * Whether the processes of this activity should go on without it: the worker is shutting down, or this attempt is no longer the one
 * the server knows (another may have attached already). A cancel, a pause, a reset or a workflow that was ended mean stop.
 */
export async function shouldDetach(): Promise<boolean> {
  const details = Context.current().cancellationDetails;
  if (details === undefined) return false;
  if (details.cancelRequested || details.paused || details.reset) return false;
  if (details.workerShutdown || details.timedOut) return true;
  return details.notFound && (await workflowIsOpen());
}

/** Whether the workflow of this activity still runs. When Temporal cannot say, it is taken to: nothing is stopped on a guess. */
async function workflowIsOpen(): Promise<boolean> {
  const { client, info } = Context.current();
  const { workflowId, runId } = info.workflowExecution ?? {};
  if (workflowId === undefined) return true;
  try {
    // Of its own, as the activity's signal has been aborted and would take the question along.
    const { status } = await client.withAbortSignal(AbortSignal.timeout(DESCRIBE_MS), () =>
      client.workflow.getHandle(workflowId, runId).describe(),
    );
    return status.name === 'RUNNING';
  } catch (error) {
    return !(error instanceof WorkflowNotFoundError);
  }
}

/**
 * Runs `work` until it ends or the activity is cancelled. On a cancel the work's signal is aborted and its end awaited, so that nothing it
 * does can follow the clean-up; then the cancellation is thrown.
 */
export async function untilCancelled<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const abort = new AbortController();
  const running = work(abort.signal);
  try {
    return await Promise.race([running, cancelled()]);
  } finally {
    abort.abort();
    await running.catch(() => undefined);
  }
}

/** Waits for a time, or until the signal is aborted. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => undefined);
}

/**
 * Runs one piece of work for each item until all end. When one rejects, the others' signals are aborted and their ends awaited before it is
 * passed on, so that nothing goes on behind the caller's back.
 */
export async function allOrNone<T>(
  items: readonly T[],
  signal: AbortSignal,
  work: (item: T, index: number, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const failed = new AbortController();
  const running = items.map((item, index) => work(item, index, AbortSignal.any([signal, failed.signal])));
  try {
    await Promise.all(running);
  } finally {
    failed.abort();
    await Promise.allSettled(running);
  }
}
