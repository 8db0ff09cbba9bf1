/** An experiment: the base's evaluation, then each iteration of Algorithm 1 as a child workflow. */
import { defineQuery, executeChild, setHandler, upsertSearchAttributes } from '@temporalio/workflow';
import { evaluation } from './evaluation.ts';
import { iteration } from './iteration.ts';
import { recordEvent } from './proxies.ts';
import { recordOutcome } from './record-outcome.ts';
import { SEARCH_ATTRIBUTES } from './search-attributes.ts';
import type { ExperimentPlan, ExperimentState, RunState, StepResult } from './types.ts';

export const experimentStateQuery = defineQuery<ExperimentState>('state');

/** Returns what was computed and what was reused, in order. */
export async function experiment(plan: ExperimentPlan): Promise<StepResult[]> {
  let state: RunState = 'running';
  let current: string | null = null;
  const done: StepResult[] = [];
  setHandler(experimentStateQuery, () => ({
    experiment: plan.experiment,
    state,
    current,
    done: done.map(({ id, reused }) => ({ id, reused })),
  }));
  const enter = (next: RunState) => {
    state = next;
    upsertSearchAttributes([{ key: SEARCH_ATTRIBUTES.state, value: next }]);
  };
  const event = { experiment: plan.experiment, phase: null, key: null };
  await recordEvent({ ...event, type: 'experiment-started', detail: { study: plan.study.name } });
  return recordOutcome({ ...event, kind: 'experiment' }, enter, async () => {
    const base = plan.evaluations.filter((candidate) => candidate.after === null);
    for (const step of base) {
      current = step.id;
      done.push(
        await executeChild(evaluation, {
          workflowId: `${plan.experiment}/${step.id}`,
          args: [{ experiment: plan.experiment, study: plan.study, evaluation: step }],
          typedSearchAttributes: [
            { key: SEARCH_ATTRIBUTES.experiment, value: plan.experiment },
            { key: SEARCH_ATTRIBUTES.phase, value: step.id },
            { key: SEARCH_ATTRIBUTES.state, value: 'running' },
          ],
        }),
      );
    }
    const iterations = [...new Set(plan.phases.map((phase) => phase.iteration))];
    for (const number of iterations) {
      current = `iteration-${number}`;
      const phases = plan.phases.filter((phase) => phase.iteration === number);
      const ids = new Set(phases.map((phase) => phase.id));
      done.push(
        ...(await executeChild(iteration, {
          workflowId: `${plan.experiment}/iteration-${number}`,
          args: [
            {
              experiment: plan.experiment,
              study: plan.study,
              iteration: number,
              phases,
              evaluations: plan.evaluations.filter((step) => step.after !== null && ids.has(step.after)),
            },
          ],
          typedSearchAttributes: [
            { key: SEARCH_ATTRIBUTES.experiment, value: plan.experiment },
            { key: SEARCH_ATTRIBUTES.iteration, value: number },
            { key: SEARCH_ATTRIBUTES.state, value: 'running' },
          ],
        })),
      );
    }
    current = null;
    return done;
  });
}
