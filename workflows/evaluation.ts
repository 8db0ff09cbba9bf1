/** One evaluation: the checkpoint is served, held-out questions are asked, scores are written. */
import { defineQuery, setHandler, upsertSearchAttributes } from '@temporalio/workflow';
import { IMAGE_RULES } from '../method/image-rules.ts';
import { servingLimits } from '../method/serving-limits.ts';
import type { Study } from '../studies/study.ts';
import { evaluateModel, evaluationIsComplete, prepareScenes, recordEvent, serveModel } from './proxies.ts';
import { recordOutcome } from './record-outcome.ts';
import { SEARCH_ATTRIBUTES } from './search-attributes.ts';
import type { EvaluationPlan, PhaseState, RunState, StepResult } from './types.ts';
import { whileServing } from './while-serving.ts';

export const evaluationStateQuery = defineQuery<PhaseState>('state');

export type EvaluationInput = { experiment: string; study: Study; evaluation: EvaluationPlan };

/** Returns when scores.json is written. */
export async function evaluation({ experiment, study, evaluation }: EvaluationInput): Promise<StepResult> {
  let state: RunState = 'running';
  setHandler(evaluationStateQuery, () => ({
    id: evaluation.id,
    key: evaluation.key,
    state,
    activity: state === 'running' ? 'evaluate' : null,
  }));
  const enter = (next: RunState) => {
    state = next;
    upsertSearchAttributes([{ key: SEARCH_ATTRIBUTES.state, value: next }]);
  };
  const event = { experiment, phase: evaluation.id, key: evaluation.key };
  if (await evaluationIsComplete({ key: evaluation.key })) {
    enter('reused');
    await recordEvent({ ...event, type: 'evaluation-reused', detail: {} });
    return { id: evaluation.id, key: evaluation.key, reused: true };
  }
  await recordEvent({ ...event, type: 'evaluation-started', detail: { checkpoint: evaluation.model.name } });
  return recordOutcome({ ...event, kind: 'evaluation' }, enter, async () => {
    await prepareScenes(evaluation.scenes);
    const served = {
      key: evaluation.key,
      label: evaluation.id,
      model: evaluation.model,
      serving: study.serving,
      threads: study.engine.threads,
      limits: servingLimits(
        { perceiver: study.perceiver, reasoner: study.reasoner },
        IMAGE_RULES[study.evaluation.image_rules ?? study.image_rules],
        study.evaluation.concurrency,
      ),
    };
    await whileServing([() => serveModel(served)], () => evaluateModel({ study, evaluation }));
    return { id: evaluation.id, key: evaluation.key, reused: false };
  });
}
