/** What a host with GPUs offers to the whole fleet: itself. */

export type FleetActivities = ReturnType<typeof createFleetActivities>;

/** Activity factory. `queue` is the task queue that only this host looks at. */
export function createFleetActivities(queue: string) {
  return {
    /** The host's task queue: whoever asks goes on there. */
    async claimHost(): Promise<string> {
      return queue;
    },
  };
}
