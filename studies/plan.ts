/**
 * From a study to the list of everything that will be computed, each with its content key. Keys follow from configuration and
 * inputs alone, so they are known before anything runs: the plan says beforehand what can be reused.
 */

import { IMAGE_RULES, imageRulesKey } from '../method/images.ts';
import { promptSetKey } from '../method/prompts.ts';
import type { CheckpointRef, PhaseDecision } from '../store/experiments.ts';
import { contentKey } from '../store/keys.ts';
import type { EvaluationPlan, ExperimentPlan, ModelRef, PhasePlan, ScenesPlan } from '../workflows/types.ts';
import { OverridesInvalidError, parseOverrides } from './overrides.ts';
import { batchProblems, type Hyperparameters, QuestionKind, type Study } from './study.ts';

/** Raised when a change to an engine or to the reward path makes earlier results incomparable. */
const ENGINE_VERSION = 1;

function scenes(
  split: ScenesPlan['split'],
  count: number,
  questions: number,
  kinds: QuestionKind[],
  seed: number,
): ScenesPlan {
  const spec = { split, count, questions, kinds, seed };
  return { key: contentKey('needle', { generator: 'needle@1', ...spec }), ...spec };
}

/** Id of the evaluation that follows a phase; of the base where `after` is null. */
function evaluationId(after: string | null): string {
  return `evaluation/${after === null ? 'base' : after.replace('/', '-')}`;
}

/** Key of the weights in a checkpoint: the phase's own key at its last step. */
function checkpointKey({ phase, step }: CheckpointRef, last: number): string {
  return step === last ? phase : contentKey('checkpoint', { phase, step });
}

function decided(id: string, base: Hyperparameters, decision: PhaseDecision | undefined): Hyperparameters {
  const merged = { ...base, ...parseOverrides(decision?.overrides ?? {}) };
  const problems = batchProblems(merged);
  if (problems.length > 0) throw new OverridesInvalidError(problems.map((problem) => `${id}: ${problem}`));
  return merged;
}

/**
 * Resolves a study. `baseKey` is the content key of the base model's directory; `decisions` are what was decided about single phases
 * (by id). Throws OverridesInvalidError where a decision does not fit.
 */
export function planExperiment(
  study: Study,
  experiment: string,
  baseKey: string,
  decisions: Record<string, PhaseDecision> = {},
): ExperimentPlan {
  const judging = {
    prompts: promptSetKey(study.prompt_set),
    images: imageRulesKey(IMAGE_RULES[study.image_rules]),
    extractor: study.extractor,
  };
  const base: ModelRef = { kind: 'directory', directory: study.model, key: baseKey, name: 'base' };
  const heldOut = scenes(
    'held-out',
    study.evaluation.scenes,
    study.evaluation.questions_per_scene,
    [...QuestionKind.options],
    0,
  );

  const evaluate = (model: ModelRef, after: string | null): EvaluationPlan => {
    const strategies = after === null ? (['direct', 'p2r'] as const) : (['p2r'] as const);
    return {
      id: evaluationId(after),
      key: contentKey('evaluation', {
        model: model.key,
        scenes: heldOut.key,
        strategies,
        perceiver_max_tokens: study.evaluation.perceiver_max_tokens,
        reasoner_max_tokens: study.evaluation.reasoner_max_tokens,
        ...judging,
      }),
      after,
      model,
      scenes: heldOut,
      strategies: [...strategies],
    };
  };

  const phases: PhasePlan[] = [];
  const evaluations: EvaluationPlan[] = [evaluate(base, null)];
  let current: ModelRef = base;
  for (let iteration = 1; iteration <= study.iterations; iteration++) {
    for (const role of study.roles) {
      const id = `iteration-${iteration}/${role}`;
      const decision = decisions[id];
      const hyperparameters = decided(id, study[role], decision);
      const training = scenes(
        'train',
        hyperparameters.train_batch_size * hyperparameters.total_steps,
        1,
        study.questions[role],
        study.seed * 1000 + iteration * 10 + (role === 'perceiver' ? 0 : 1),
      );
      const key = contentKey(role, {
        engine_version: ENGINE_VERSION,
        engine: study.engine,
        start: current.key,
        frozen: current.key,
        scenes: training.key,
        seed: study.seed,
        hyperparameters,
        ...judging,
        ...(decision?.from && { from: decision.from }),
        ...(decision?.repeat && { repeat: decision.repeat }),
      });
      const skip = decision?.skip ?? null;
      const last = hyperparameters.total_steps;
      const taken = skip === null || skip === 'start' ? { phase: key, step: last } : skip;
      const result: ModelRef =
        skip === 'start'
          ? current
          : { kind: 'phase', ...taken, key: checkpointKey(taken, last), name: id.replace('/', '-') };
      phases.push({
        id,
        iteration,
        role,
        key,
        start: current,
        frozen: current,
        scenes: training,
        hyperparameters,
        inherit: decision?.from ?? null,
        skipped: skip !== null,
        result,
      });
      current = result;
      evaluations.push(evaluate(current, id));
    }
  }
  return { experiment, study, phases, evaluations };
}
