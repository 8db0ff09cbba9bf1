/** All activities over one store. Workflows import the type only. */
import type { Store } from '../store/layout.ts';
import { createDatasetActivities } from './datasets.ts';
import { createDecidingActivities } from './deciding.ts';
import { createEvaluationActivities } from './evaluating.ts';
import { createEventActivities } from './events.ts';
import { withHeartbeats } from './heartbeats.ts';
import { createRewardActivities } from './reward-service.ts';
import { createServingActivities } from './serving.ts';
import { createSlotActivities } from './slots.ts';
import { createTrainingActivities } from './training.ts';

export type Activities = ReturnType<typeof bareActivities>;

/** Builds every activity with its dependencies, for a machine with so many `slots`. All send heartbeats. */
export function createActivities(store: Store, slots: number): Activities {
  const bare = Object.entries(bareActivities(store, slots));
  return Object.fromEntries(
    bare.map(([name, run]) => [name, withHeartbeats(run as (input: unknown) => Promise<unknown>)]),
  ) as Activities;
}

function bareActivities(store: Store, slots: number) {
  return {
    ...createDatasetActivities(store),
    ...createDecidingActivities(store),
    ...createEvaluationActivities(store),
    ...createEventActivities(store),
    ...createRewardActivities(store),
    ...createServingActivities(store),
    ...createSlotActivities(store, slots),
    ...createTrainingActivities(store),
  };
}
