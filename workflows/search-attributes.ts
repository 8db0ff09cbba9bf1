/** Search attributes of every workflow of an experiment, by which the command line and the Temporal UI find them. */
import { defineSearchAttributeKey, SearchAttributeType } from '@temporalio/common';

export const SEARCH_ATTRIBUTES = {
  experiment: defineSearchAttributeKey('P2rExperiment', SearchAttributeType.KEYWORD),
  iteration: defineSearchAttributeKey('P2rIteration', SearchAttributeType.INT),
  phase: defineSearchAttributeKey('P2rPhase', SearchAttributeType.KEYWORD),
  state: defineSearchAttributeKey('P2rState', SearchAttributeType.KEYWORD),
};

/** What a phase, an evaluation or (with no `step`) an iteration starts with. */
export function stepAttributes(experiment: string, step: string | null, iteration: number | null) {
  return [
    { key: SEARCH_ATTRIBUTES.experiment, value: experiment },
    ...(iteration === null ? [] : [{ key: SEARCH_ATTRIBUTES.iteration, value: iteration }]),
    ...(step === null ? [] : [{ key: SEARCH_ATTRIBUTES.phase, value: step }]),
    { key: SEARCH_ATTRIBUTES.state, value: 'running' },
  ];
}
