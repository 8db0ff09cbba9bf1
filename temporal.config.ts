/** Where Temporal is, and the names under which this project is known to it. */
import { loadClientConnectConfig } from '@temporalio/envconfig';

/** Task queue of workflows and of all activities on one machine. */
export const TASK_QUEUE = 'p2r';

/** What a worker may be: `control` decides and keeps the books, `cpu` prepares data, `gpu` serves and trains on its host. */
export const FLEETS = ['control', 'cpu', 'gpu'] as const;
export type Fleet = (typeof FLEETS)[number];

/** The fleets of P2R_FLEETS (`control,cpu`), all without it. Throws on a name that is none. */
export function workerFleets(value: string | undefined): Fleet[] {
  if (value === undefined || value === '') return [...FLEETS];
  return value.split(',').map((name) => {
    const fleet = FLEETS.find((known) => known === name.trim());
    if (fleet === undefined)
      throw new TypeError(`P2R_FLEETS names "${name.trim()}": allowed are ${FLEETS.join(', ')}.`);
    return fleet;
  });
}

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
