/** One evaluation: the checkpoint is served, held-out questions are asked, scores are written. */
import { defineQuery, setHandler, upsertSearchAttributes } from '@temporalio/workflow';
import { IMAGE_RULES } from '../method/image-rules.ts';
import { servingLimits } from '../method/serving-limits.ts';
import type { Study } from '../studies/study.ts';
import { dataActivities, onOneHost } from './fleets.ts';
import { inTurn } from './in-turn.ts';
import { evaluationIsComplete, loadEvaluation, recordEvent, verifyModels } from './proxies.ts';
import { recordOutcome } from './record-outcome.ts';
import { SEARCH_ATTRIBUTES } from './search-attributes.ts';
import type { PhaseState, RunState, StepResult } from './types.ts';
import { whileServing } from './while-serving.ts';

export const evaluationStateQuery = defineQuery<PhaseState>('state');

export type EvaluationInput = { experiment: string; evaluation: string };

/** Returns when scores.json is written. */
export async function evaluation({ experiment, evaluation: id }: EvaluationInput): Promise<StepResult> {
  let state: RunState = 'running';
  let key: string | null = null;
  setHandler(evaluationStateQuery, () => ({
    id,
    key,
    state,
    activity: state === 'running' ? 'evaluate' : null,
    message: null,
  }));
  const enter = (next: RunState) => {
    state = next;
    upsertSearchAttributes([{ key: SEARCH_ATTRIBUTES.state, value: next }]);
  };
  const event = () => ({ experiment, phase: id, key });
  return recordOutcome({ kind: 'evaluation', event }, enter, async () => {
    const loaded = await loadEvaluation({ experiment, evaluation: id });
    key = loaded.evaluation.key;
    const complete = { key, user: { experiment, part: id } };
    if (await evaluationIsComplete(complete)) return { id, key, how: 'reused' };
    const how = await inTurn(
      { kind: 'evaluation', experiment, part: id },
      loaded.study.placement,
      async (waited) =>
        // Another experiment may have computed the same meanwhile.
        waited && (await evaluationIsComplete(complete)) ? 'reused' : compute(experiment, loaded),
    );
    return { id, key, how };
  });
}

async function compute(
  experiment: string,
  { study, evaluation }: Awaited<ReturnType<typeof loadEvaluation>>,
): Promise<'computed'> {
  const { id, key } = evaluation;
  const event = { experiment, phase: id, key };
  await recordEvent({
    ...event,
    type: 'evaluation-started',
    detail: { checkpoint: evaluation.checkpoint },
  });
  const models = [evaluation.model, ...(evaluation.perceiver ? [evaluation.perceiver] : [])];
  await verifyModels({ experiment, user: id, models });
  if (study.evaluation.benchmarks === undefined)
    await dataActivities(study.placement).prepareScenes({
      ...evaluation.scenes,
      user: { experiment, part: id },
    });
  const served = {
    key,
    label: id,
    model: evaluation.model,
    serving: shared(study.serving, models.length),
    threads: study.engine.threads,
    limits: servingLimits(
      { perceiver: study.perceiver, reasoner: study.reasoner },
      IMAGE_RULES[study.evaluation.image_rules ?? study.image_rules],
      study.evaluation.concurrency,
    ),
  };
  const lost = (host: string) => recordEvent({ ...event, type: 'host-lost', detail: { host } });
  await onOneHost(study.placement, lost, (host) =>
    whileServing(
      models.map(
        (model, index) => () =>
          host.serveModel(index === 0 ? served : { ...served, part: 'perceiver', model }),
      ),
      () => host.evaluateModel({ study, evaluation }),
    ),
  );
  return 'computed';
}

/** What of the machine each of `servers` that run at once may take. */
function shared(serving: Study['serving'], servers: number): Study['serving'] {
  return serving.kind === 'vllm' && servers > 1
    ? { ...serving, gpu_memory_utilization: serving.gpu_memory_utilization / servers }
    : serving;
}
