/**
 * An experiment: the base's evaluation, then each iteration of Algorithm 1 as a child workflow. What the parts are is read from the run
 * directory, so that decisions taken meanwhile count; finished parts are reused by key, so that starting over costs nothing. That is
 * how an experiment goes on after a pause, and how a damaged checkpoint is computed again.
 */
import {
  allHandlersFinished,
  CancellationScope,
  condition,
  continueAsNew,
  defineQuery,
  defineUpdate,
  executeChild,
  isCancellation,
  setHandler,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow';
import { evaluation } from './evaluation.ts';
import { isDamagedInput } from './failures.ts';
import { iteration } from './iteration.ts';
import { loadOutline, recordEvent, stopsEarly } from './proxies.ts';
import { recordOutcome } from './record-outcome.ts';
import { SEARCH_ATTRIBUTES, stepAttributes } from './search-attributes.ts';
import type { ExperimentState, RunState, StepResult } from './types.ts';

export const experimentStateQuery = defineQuery<ExperimentState>('state');
/** Stop after a checkpoint and wait; nothing is lost. */
export const pauseUpdate = defineUpdate<void, []>('pause');
/** Go on after a pause. */
export const resumeUpdate = defineUpdate<void, []>('resume');

/** `next` is the iteration to begin with (1-based), set where an earlier run of this workflow handed over. */
export type ExperimentInput = { experiment: string; next?: number };

/** Times that a damaged checkpoint is computed again before the experiment fails with it. */
const MAX_REPAIRS = 20;

/** Returns what was computed and what was reused, in order (since the last hand-over). */
export async function experiment(input: ExperimentInput): Promise<StepResult[]> {
  const name = input.experiment;
  const root = CancellationScope.current();
  let walking = new CancellationScope();
  let state: RunState = 'running';
  let current: string | null = null;
  let paused = false;
  let interrupted = false;
  let next = input.next ?? 1;
  let done: StepResult[] = [];
  setHandler(experimentStateQuery, () => ({
    experiment: name,
    state,
    current,
    done: done.map(({ id, how }) => ({ id, how })),
  }));
  setHandler(
    pauseUpdate,
    () => {
      paused = true;
      interrupted = true;
      walking.cancel();
    },
    {
      validator: () => {
        if (paused) throw new TypeError(`${name} is paused already.`);
      },
    },
  );
  setHandler(
    resumeUpdate,
    () => {
      paused = false;
    },
    {
      validator: () => {
        if (!paused) throw new TypeError(`${name} is not paused.`);
      },
    },
  );
  const enter = (following: RunState) => {
    state = following;
    upsertSearchAttributes([{ key: SEARCH_ATTRIBUTES.state, value: following }]);
  };
  const event = () => ({ experiment: name, phase: null, key: null });

  const walk = async () => {
    const outline = await loadOutline({ experiment: name });
    if (input.next === undefined)
      for (const id of outline.before) {
        current = id;
        done.push(
          await executeChild(evaluation, {
            workflowId: `${name}/${id}`,
            args: [{ experiment: name, evaluation: id }],
            typedSearchAttributes: stepAttributes(name, id, null),
          }),
        );
      }
    for (; next <= outline.iterations.length; next++) {
      current = `iteration-${next}`;
      done.push(
        ...(await executeChild(iteration, {
          workflowId: `${name}/iteration-${next}`,
          args: [{ experiment: name, iteration: next, steps: outline.iterations[next - 1] ?? [] }],
          typedSearchAttributes: stepAttributes(name, null, next),
        })),
      );
      if (await stopsEarly({ experiment: name, iteration: next })) {
        await recordEvent({ ...event(), type: 'experiment-stopped-early', detail: { iteration: next } });
        return;
      }
      if (workflowInfo().continueAsNewSuggested && next < outline.iterations.length) {
        await condition(allHandlersFinished);
        await continueAsNew<typeof experiment>({ experiment: name, next: next + 1 });
      }
    }
  };

  if (input.next === undefined) {
    const { study } = await loadOutline({ experiment: name });
    await recordEvent({ ...event(), type: 'experiment-started', detail: { study } });
  }
  return recordOutcome({ kind: 'experiment', event }, enter, async () => {
    for (let repairs = 0; ; ) {
      walking = new CancellationScope();
      try {
        if (interrupted) walking.cancel();
        await walking.run(walk);
        current = null;
        await condition(allHandlersFinished);
        return done;
      } catch (error) {
        if (isCancellation(error) && interrupted && !root.consideredCancelled) {
          interrupted = false;
          enter('paused');
          await recordEvent({ ...event(), type: 'experiment-paused', detail: {} });
          await condition(() => !paused);
          enter('running');
          await recordEvent({ ...event(), type: 'experiment-resumed', detail: {} });
        } else if (isDamagedInput(error) && repairs < MAX_REPAIRS) {
          repairs++;
          next = 1;
        } else {
          throw error;
        }
        done = [];
      }
    }
  });
}
