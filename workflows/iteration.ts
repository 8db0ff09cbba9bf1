/** One iteration of Algorithm 1: each phase, followed by the evaluation of its checkpoint. */
import { executeChild } from '@temporalio/workflow';
import { evaluation } from './evaluation.ts';
import { phase } from './phase.ts';
import { stepAttributes } from './search-attributes.ts';
import type { Outline, StepResult } from './types.ts';

export type IterationInput = { experiment: string; iteration: number; steps: Outline['iterations'][number] };

/** Returns what was computed and what was reused, in order. */
export async function iteration({ experiment, iteration, steps }: IterationInput): Promise<StepResult[]> {
  const done: StepResult[] = [];
  for (const step of steps) {
    done.push(
      await executeChild(phase, {
        workflowId: `${experiment}/${step.phase}`,
        args: [{ experiment, phase: step.phase }],
        typedSearchAttributes: stepAttributes(experiment, step.phase, iteration),
      }),
    );
    for (const id of step.evaluations)
      done.push(
        await executeChild(evaluation, {
          workflowId: `${experiment}/${id}`,
          args: [{ experiment, evaluation: id }],
          typedSearchAttributes: stepAttributes(experiment, id, iteration),
        }),
      );
  }
  return done;
}
