/** The run's diary. */
import { appendEvent, type ExperimentEvent, readEvents } from '../store/experiments.ts';
import type { Store } from '../store/layout.ts';

/** Activity factory. */
export function createEventActivities(store: Store) {
  return {
    /** Appends an event; a repetition of the last one (an activity may run twice) is left out. */
    async recordEvent({
      experiment,
      ...event
    }: { experiment: string } & Omit<ExperimentEvent, 'time'>): Promise<void> {
      const last = (await readEvents(store, experiment)).at(-1);
      if (
        last !== undefined &&
        last.type === event.type &&
        last.phase === event.phase &&
        last.key === event.key
      )
        return;
      await appendEvent(store, experiment, event);
    },
  };
}
