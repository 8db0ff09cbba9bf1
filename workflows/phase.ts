/**
 * One training phase and its gate. The phase is reused when its key is complete on disk and trained otherwise; when it fails, or ends
 * without meeting the study's acceptance rules, it waits for a decision: retryPhase, skipPhase or abortPhase.
 */
import {
  ApplicationFailure,
  allHandlersFinished,
  condition,
  currentUpdateInfo,
  defineQuery,
  isCancellation,
  rootCause,
  setHandler,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow';
import { IMAGE_RULES } from '../method/image-rules.ts';
import { servingLimits } from '../method/serving-limits.ts';
import { abortPhaseUpdate, checkRetry, checkSkip, retryPhaseUpdate, skipPhaseUpdate } from './decisions.ts';
import { isDamagedInput, type Recognised, recognisedFailure } from './failures.ts';
import { dataActivities, onOneHost } from './fleets.ts';
import { inTurn } from './in-turn.ts';
import {
  checkAcceptance,
  decide,
  inheritCheckpoint,
  loadPhase,
  phaseIsComplete,
  recordEvent,
  retryByRule,
  verifyModels,
} from './proxies.ts';
import { recordOutcome } from './record-outcome.ts';
import { SEARCH_ATTRIBUTES } from './search-attributes.ts';
import type { PhaseState, RetryDecision, RunState, SkipDecision, StepResult } from './types.ts';
import { whileServing } from './while-serving.ts';

export const phaseStateQuery = defineQuery<PhaseState>('state');

export type PhaseInput = { experiment: string; phase: string };
type LoadedPhase = Awaited<ReturnType<typeof loadPhase>>;

/** Returns when the phase's result stands: trained and accepted, reused, or skipped. */
export async function phase({ experiment, phase: id }: PhaseInput): Promise<StepResult> {
  let state: RunState = 'running';
  let activity: string | null = null;
  let key: string | null = null;
  let message: string | null = null;
  let decision: 'none' | 'under-way' | 'taken' | 'abort' = 'none';
  const enter = (next: RunState) => {
    state = next;
    upsertSearchAttributes([{ key: SEARCH_ATTRIBUTES.state, value: next }]);
  };
  const event = () => ({ experiment, phase: id, key });

  const mustWait = () => {
    if (state !== 'waiting' || decision !== 'none')
      throw new TypeError(`${id} of ${experiment} is not waiting for a decision: it is ${state}.`);
  };
  const takeDecision = async (
    change: ({ kind: 'retry' } & RetryDecision) | ({ kind: 'skip' } & SkipDecision),
  ) => {
    decision = 'under-way';
    try {
      await decide({ experiment, phase: id, request: currentUpdateInfo()?.id ?? '', ...change });
      decision = 'taken';
    } catch (error) {
      decision = 'none';
      throw ApplicationFailure.nonRetryable(rootCause(error) ?? 'refused', 'DecisionRefused');
    }
  };
  setHandler(phaseStateQuery, () => ({ id, key, state, activity, message }));
  setHandler(retryPhaseUpdate, (change) => takeDecision({ kind: 'retry', ...change }), {
    validator: (change) => {
      mustWait();
      checkRetry(change);
    },
  });
  setHandler(skipPhaseUpdate, (change) => takeDecision({ kind: 'skip', ...change }), {
    validator: (change) => {
      mustWait();
      checkSkip(change);
    },
  });
  setHandler(
    abortPhaseUpdate,
    () => {
      decision = 'abort';
    },
    { validator: mustWait },
  );

  return recordOutcome({ kind: 'phase', event }, enter, async () => {
    for (let attempt = 1; ; attempt++) {
      const loaded = await loadPhase({ experiment, phase: id });
      key = loaded.phase.key;
      let finished = false;
      let recognised: Recognised | null = null;
      try {
        const how = await obtain(experiment, loaded, (next) => {
          activity = next;
        });
        activity = null;
        finished = true;
        message = how === 'skipped' ? null : await checkAcceptance({ experiment, phase: id });
        if (message === null) {
          await condition(allHandlersFinished);
          return { id, key, how };
        }
      } catch (error) {
        activity = null;
        if (isCancellation(error) || isDamagedInput(error)) throw error;
        message = rootCause(error) ?? 'it failed for an unknown reason';
        recognised = recognisedFailure(error);
      }
      const request = `${workflowInfo().runId}/${attempt}`;
      if (await retryByRule({ experiment, phase: id, request, finished })) {
        await recordEvent({ ...event(), type: 'phase-retried', detail: { message, by: 'rule' } });
        continue;
      }
      enter('waiting');
      await recordEvent({ ...event(), type: 'phase-waiting', detail: { message, finished, recognised } });
      await condition(() => decision === 'taken' || decision === 'abort');
      // The cast undoes a narrowing that does not know of handlers.
      if ((decision as string) === 'abort')
        throw ApplicationFailure.nonRetryable(`aborted at the gate: ${message}`, 'Aborted');
      decision = 'none';
      message = null;
      enter('running');
      await recordEvent({ ...event(), type: 'phase-retried', detail: { by: 'decision' } });
    }
  });
}

/** Brings the phase's result about: by a decision, from the disk, or by training, when it is this phase's turn on the machine. */
async function obtain(
  experiment: string,
  loaded: LoadedPhase,
  enter: (activity: string) => void,
): Promise<StepResult['how']> {
  const { study, phase } = loaded;
  if (phase.skipped) return 'skipped';
  const whole = {
    key: phase.key,
    totalSteps: phase.hyperparameters.total_steps,
    user: { experiment, part: phase.id },
  };
  if (await phaseIsComplete(whole)) return 'reused';
  enter('wait for a slot');
  return inTurn({ kind: 'phase', experiment, part: phase.id }, study.placement, async (waited) =>
    // Another experiment may have computed the same meanwhile.
    waited && (await phaseIsComplete(whole)) ? 'reused' : compute(experiment, loaded, enter),
  );
}

async function compute(
  experiment: string,
  { study, phase }: LoadedPhase,
  enter: (activity: string) => void,
): Promise<'computed'> {
  const event = { experiment, phase: phase.id, key: phase.key };
  await recordEvent({ ...event, type: 'phase-started', detail: { role: phase.role } });
  await verifyModels({ experiment, user: phase.id, models: [phase.start, phase.frozen] });
  const input = { experiment, study, phase };
  if (phase.inherit !== null) {
    enter('bring the checkpoint over');
    await inheritCheckpoint({ phase });
  }
  const data = dataActivities(study.placement);
  enter('prepare scenes');
  await data.prepareScenes({ ...phase.scenes, user: { experiment, part: phase.id } });
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
  if (phase.role !== 'reasoner') {
    enter('prepare prompts');
    await (phase.role === 'perceiver' ? data.preparePerceiverSet(input) : data.prepareDirectSet(input));
  }
  const lost = (host: string) => recordEvent({ ...event, type: 'host-lost', detail: { host } });
  await onOneHost(study.placement, lost, async (host) => {
    const serveFrozen = () => host.serveModel(frozen);
    const services = [() => host.serveRewards(input)];
    if (phase.role === 'perceiver') services.unshift(serveFrozen);
    if (phase.role === 'reasoner') {
      enter('collect evidence');
      await whileServing([serveFrozen], () => host.collectEvidence(input));
    }
    enter('train');
    await whileServing(services, () => host.trainRole(input));
  });
  return 'computed';
}
