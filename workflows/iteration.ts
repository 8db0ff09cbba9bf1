/** One iteration of Algorithm 1: each phase, followed by the evaluation of its checkpoint. */
import { executeChild } from '@temporalio/workflow';
import type { Study } from '../studies/study.ts';
import { evaluation } from './evaluation.ts';
import { phase } from './phase.ts';
import { SEARCH_ATTRIBUTES } from './search-attributes.ts';
import type { EvaluationPlan, PhasePlan, StepResult } from './types.ts';

export type IterationInput = {
  experiment: string;
  study: Study;
  iteration: number;
  phases: PhasePlan[];
  evaluations: EvaluationPlan[];
};

/** Returns what was computed and what was reused, in order. */
export async function iteration(input: IterationInput): Promise<StepResult[]> {
  const { experiment, study } = input;
  const attributes = (step: string) => [
    { key: SEARCH_ATTRIBUTES.experiment, value: experiment },
    { key: SEARCH_ATTRIBUTES.iteration, value: input.iteration },
    { key: SEARCH_ATTRIBUTES.phase, value: step },
    { key: SEARCH_ATTRIBUTES.state, value: 'running' },
  ];
  const done: StepResult[] = [];
  for (const step of input.phases) {
    done.push(
      await executeChild(phase, {
        workflowId: `${experiment}/${step.id}`,
        args: [{ experiment, study, phase: step }],
        typedSearchAttributes: attributes(step.id),
      }),
    );
    for (const scored of input.evaluations.filter((candidate) => candidate.after === step.id)) {
      done.push(
        await executeChild(evaluation, {
          workflowId: `${experiment}/${scored.id}`,
          args: [{ experiment, study, evaluation: scored }],
          typedSearchAttributes: attributes(scored.id),
        }),
      );
    }
  }
  return done;
}
