/** One training phase: dataset, frozen role, rewards, training; reused when its key is already complete on disk. */
import { defineQuery, setHandler, upsertSearchAttributes } from '@temporalio/workflow';
import { IMAGE_RULES } from '../method/image-rules.ts';
import { servingLimits } from '../method/serving-limits.ts';
import type { Study } from '../studies/study.ts';
import {
  collectEvidence,
  phaseIsComplete,
  prepareDirectSet,
  preparePerceiverSet,
  prepareScenes,
  recordEvent,
  serveModel,
  serveRewards,
  trainRole,
} from './proxies.ts';
import { recordOutcome } from './record-outcome.ts';
import { SEARCH_ATTRIBUTES } from './search-attributes.ts';
import type { PhasePlan, PhaseState, RunState, StepResult } from './types.ts';
import { whileServing } from './while-serving.ts';

export const phaseStateQuery = defineQuery<PhaseState>('state');

export type PhaseInput = { experiment: string; study: Study; phase: PhasePlan };

/** Returns when the phase's last checkpoint is committed. */
export async function phase({ experiment, study, phase }: PhaseInput): Promise<StepResult> {
  let state: RunState = 'running';
  let activity: string | null = null;
  setHandler(phaseStateQuery, () => ({ id: phase.id, key: phase.key, state, activity }));
  const enter = (next: RunState) => {
    state = next;
    upsertSearchAttributes([{ key: SEARCH_ATTRIBUTES.state, value: next }]);
  };
  const event = { experiment, phase: phase.id, key: phase.key };

  if (await phaseIsComplete({ key: phase.key, totalSteps: phase.hyperparameters.total_steps })) {
    enter('reused');
    await recordEvent({ ...event, type: 'phase-reused', detail: {} });
    return { id: phase.id, key: phase.key, reused: true };
  }
  await recordEvent({ ...event, type: 'phase-started', detail: { role: phase.role } });
  return recordOutcome({ ...event, kind: 'phase' }, enter, async () => {
    const input = { study, phase };
    activity = 'prepare scenes';
    await prepareScenes(phase.scenes);
    const frozen = {
      key: phase.key,
      label: `frozen for ${phase.id}`,
      model: phase.frozen,
      serving: study.serving,
      threads: study.engine.threads,
      limits: servingLimits(
        phase.role === 'reasoner' ? { perceiver: study.perceiver } : { reasoner: study.reasoner },
        IMAGE_RULES[study.image_rules],
        study.evaluation.concurrency,
      ),
    };
    if (phase.role === 'perceiver') {
      activity = 'prepare prompts';
      await preparePerceiverSet(input);
      activity = 'train';
      await whileServing([() => serveModel(frozen), () => serveRewards(input)], () => trainRole(input));
    } else if (phase.role === 'direct') {
      activity = 'prepare prompts';
      await prepareDirectSet(input);
      activity = 'train';
      await whileServing([() => serveRewards(input)], () => trainRole(input));
    } else {
      activity = 'collect evidence';
      await whileServing([() => serveModel(frozen)], () => collectEvidence(input));
      activity = 'train';
      await whileServing([() => serveRewards(input)], () => trainRole(input));
    }
    activity = null;
    return { id: phase.id, key: phase.key, reused: false };
  });
}
