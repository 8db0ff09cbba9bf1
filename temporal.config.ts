/** Where Temporal is, and the names under which this project is known to it. */
import { loadClientConnectConfig } from '@temporalio/envconfig';

/** Task queue of workflows and of all activities on one machine. */
export const TASK_QUEUE = 'p2r';

/** The search attributes (workflows/search-attributes.ts) as the dev server's `--search-attribute` wants them. */
export const SEARCH_ATTRIBUTE_FLAGS = [
  'P2rExperiment=Keyword',
  'P2rIteration=Int',
  'P2rPhase=Keyword',
  'P2rState=Keyword',
];

/** A Temporal to talk to. */
export type TemporalTarget = {
  connection: ReturnType<typeof loadClientConnectConfig>['connectionOptions'];
  namespace: string;
};

/**
 * The target of the environment: an envconfig profile (TEMPORAL_PROFILE, TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, ...) when one is
 * set, else the embedded server at `embeddedAddress`.
 */
export function temporalTarget(embeddedAddress: string | null): TemporalTarget {
  if (process.env.TEMPORAL_ADDRESS || process.env.TEMPORAL_PROFILE) {
    const { connectionOptions, namespace } = loadClientConnectConfig();
    return { connection: connectionOptions, namespace: namespace ?? 'default' };
  }
  return { connection: { address: embeddedAddress ?? '127.0.0.1:7233' }, namespace: 'default' };
}
