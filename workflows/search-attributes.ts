/** Search attributes of every workflow of an experiment, by which the command line and the Temporal UI find them. */
import { defineSearchAttributeKey, SearchAttributeType } from '@temporalio/common';

export const SEARCH_ATTRIBUTES = {
  experiment: defineSearchAttributeKey('P2rExperiment', SearchAttributeType.KEYWORD),
  iteration: defineSearchAttributeKey('P2rIteration', SearchAttributeType.INT),
  phase: defineSearchAttributeKey('P2rPhase', SearchAttributeType.KEYWORD),
  state: defineSearchAttributeKey('P2rState', SearchAttributeType.KEYWORD),
};
