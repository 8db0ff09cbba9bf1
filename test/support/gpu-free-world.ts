/**
 * Activities for tests of control flow: decisions, events, checkpoints and scores are the real ones over a real run directory; what
 * would need a model is written by a script of the test. Nothing outside the tests uses this.
 */
import { createHash } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { Context } from '@temporalio/activity';
import { ApplicationFailure } from '@temporalio/common';
import { createDecidingActivities } from '../../activities/deciding.ts';
import { createEvaluationActivities } from '../../activities/evaluating.ts';
import { createEventActivities } from '../../activities/events.ts';
import type { Activities } from '../../activities/index.ts';
import { createSlotActivities } from '../../activities/slots.ts';
import { createTrainingActivities } from '../../activities/training.ts';
import { committedSteps } from '../../store/checkpoints.ts';
import { evaluationFiles } from '../../store/evaluations.ts';
import { JsonLinesWriter, writeJson } from '../../store/files.ts';
import type { Store } from '../../store/layout.ts';
import type { Recognised } from '../../workflows/failures.ts';
import type { PhasePlan } from '../../workflows/types.ts';

/** What a phase does when it is trained: metrics of a step, or a failure. */
export type Script = {
  metrics: (phase: PhasePlan, step: number) => Record<string, number>;
  failure: (phase: PhasePlan, step: number) => string | null;
  /** What is recognised behind every failure. */
  recognised?: Recognised;
  /** Awaited before each step; lets a test hold a phase where it wants it. */
  before: (phase: PhasePlan, step: number) => Promise<void>;
  accuracy: (evaluation: string) => number;
};

/** Steps that were really taken, in order, as "phase@step". */
export type Log = string[];

/** Writes a checkpoint as an engine does; its content follows from key and step. */
export async function writeCheckpoint(store: Store, key: string, step: number): Promise<void> {
  const directory = store.checkpoint(key, step);
  await mkdir(directory, { recursive: true });
  const weights = `${key} ${step}`;
  await writeFile(path.join(directory, 'model.safetensors'), weights);
  const sha256 = createHash('sha256').update(weights).digest('hex');
  await writeJson(path.join(directory, 'COMMITTED.json'), {
    step,
    files: [{ path: 'model.safetensors', size: weights.length, sha256 }],
    lease_token: 1,
    job_id: key,
    created_at: 1,
  });
}

/** The activities over `store`; `log` receives every step that is taken. */
export function gpuFreeActivities(store: Store, script: Script, log: Log): Activities {
  const untilCancelled = async () => {
    const beat = setInterval(() => Context.current().heartbeat(), 200);
    try {
      await Context.current().cancelled;
    } finally {
      clearInterval(beat);
    }
  };
  const nothing = async () => undefined;
  return {
    ...createDecidingActivities(store),
    ...createEventActivities(store),
    ...createEvaluationActivities(store),
    ...createSlotActivities(store, 1),
    ...createTrainingActivities(store),
    prepareScenes: nothing,
    preparePerceiverSet: nothing,
    prepareDirectSet: nothing,
    collectEvidence: nothing,
    serveModel: untilCancelled,
    serveRewards: untilCancelled,
    async evaluateModel({ evaluation }) {
      const accuracy = script.accuracy(evaluation.id);
      const scores = {
        accuracy,
        interval: [0, 1],
        correct: Math.round(accuracy * 100),
        count: 100,
        hit_rate: null,
        iou: null,
        box_count: null,
        box_size: null,
        by_kind: {},
      };
      await writeJson(evaluationFiles(store, evaluation.key).scores, {
        key: evaluation.key,
        checkpoint: evaluation.checkpoint,
        model_key: evaluation.model.key,
        strategies: { p2r: scores },
      });
    },
    async trainRole({ phase }) {
      const beat = setInterval(() => Context.current().heartbeat(), 200);
      try {
        const total = phase.hyperparameters.total_steps;
        const metrics = new JsonLinesWriter(path.join(store.attempt(phase.key, 2), 'metrics.jsonl'));
        for (let step = ((await committedSteps(store, phase.key)).at(-1) ?? 0) + 1; step <= total; step++) {
          await Promise.race([script.before(phase, step), Context.current().cancelled]);
          const failure = script.failure(phase, step);
          if (failure !== null)
            throw ApplicationFailure.nonRetryable(failure, 'TrainerFailed', script.recognised);
          await metrics.append({ step, time: step, ...script.metrics(phase, step) });
          await writeCheckpoint(store, phase.key, step);
          log.push(`${phase.id}@${step}`);
        }
      } finally {
        clearInterval(beat);
      }
    },
  };
}
