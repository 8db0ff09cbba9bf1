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
import {
  batchProblems,
  type CheckpointName,
  type Engine,
  type Hyperparameters,
  QuestionKind,
  type Role,
  type Strategy,
  type Study,
  StudyInvalidError,
} from './study.ts';

/** Raised when a change to an engine or to the reward path makes earlier results incomparable. */
const ENGINE_VERSION = 1;

/** Raised when the generator of needle scenes draws something else for the same arguments. */
const SCENES_VERSION = 2;

/** A dataset of needle scenes and its content key: `count` scenes of a split with `questions` each, of these kinds in turn. */
export function planScenes(
  split: ScenesPlan['split'],
  count: number,
  questions: number,
  kinds: readonly QuestionKind[],
  seed: number,
): ScenesPlan {
  const spec = { split, count, questions, kinds: [...kinds], seed };
  return { key: contentKey('needle', { generator: `needle@${SCENES_VERSION}`, ...spec }), ...spec };
}

/** Id of an evaluation after a phase; of the base where `after` is null. `suffix` names an earlier step of the phase. */
function evaluationId(after: string | null, suffix: string): string {
  return `evaluation/${after === null ? 'base' : after.replace('/', '-')}${suffix}`;
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

/** Added to the seed of a role's training scenes, so that no two roles train on the same ones. */
const SCENE_SEED: Record<Role, number> = { perceiver: 0, reasoner: 1, direct: 2 };

/** What of the engine decides a result; where the cluster is and how it spends its memory does not. */
function engineIdentity(engine: Engine): object {
  if (engine.name === 'trl') return engine;
  const { name, version, nodes, gpus_per_node, tensor_parallel } = engine;
  return { name, version, gpus: nodes * gpus_per_node, tensor_parallel };
}

/** Steps of a phase, before its last, whose checkpoints are evaluated, ascending. */
function evaluatedSteps(study: Study, { total_steps, save_freq }: Hyperparameters): number[] {
  if (study.evaluation.checkpoints === 'last') return [];
  return Array.from({ length: Math.floor((total_steps - 1) / save_freq) }, (_, n) => (n + 1) * save_freq);
}

function hyperparametersOf(study: Study, role: Role): Hyperparameters {
  const values = study[role];
  if (values === undefined)
    throw new TypeError(`The study's schedule names the role "${role}", for which it has no values.`);
  return values;
}

/** What a checkpoint of a phase is called: its last one, or an earlier step. */
function checkpointOf(phase: PhasePlan, step: number): ModelRef {
  const last = phase.hyperparameters.total_steps;
  const name = phase.id.replace('/', '-');
  return {
    kind: 'phase',
    phase: phase.key,
    step,
    key: checkpointKey({ phase: phase.key, step }, last),
    name: step === last ? name : `${name}-step-${step}`,
  };
}

/** The model that a study names (`where` in it), among `phases` that come before. Throws StudyInvalidError where there is none. */
function namedModel(
  study: Study,
  where: string,
  name: CheckpointName,
  base: ModelRef,
  phases: PhasePlan[],
): ModelRef {
  if (name === 'base') return base;
  if (typeof name !== 'string') {
    const { frozen: _, ...alike } = study;
    const other: Study = {
      ...alike,
      schedule: name.schedule,
      evaluation: { ...study.evaluation, pairs: [] },
    };
    const elsewhere = planExperiment(other, study.name, base.key).phases;
    const model = namedModel(study, where, name.checkpoint, base, elsewhere);
    return { ...model, name: `${model.name}-of-${name.schedule.join('-')}` };
  }
  const [id, step] = name.split('@');
  const phase = phases.find((candidate) => candidate.id === id);
  if (phase === undefined)
    throw new StudyInvalidError(`study "${study.name}"`, [
      `${where}: there is no phase "${id}" before it; there are ${['base', ...phases.map((known) => known.id)].join(', ')}`,
    ]);
  if (step === undefined) return phase.result;
  const { total_steps, save_freq } = phase.hyperparameters;
  if (Number(step) > total_steps || (Number(step) !== total_steps && Number(step) % save_freq !== 0))
    throw new StudyInvalidError(`study "${study.name}"`, [
      `${where}: ${id} saves every ${save_freq} of its ${total_steps} steps, not step ${step}`,
    ]);
  return checkpointOf(phase, Number(step));
}

/** Training samples of a phase: one a prompt, and DAPO's reserve. */
function trainingCount(study: Study, { train_batch_size, total_steps }: Hyperparameters): number {
  const batches = study.algorithm.name === 'dapo' ? study.algorithm.max_generation_batches : 1;
  return train_batch_size * total_steps * batches;
}

function trainingScenes(
  study: Study,
  role: Role,
  iteration: number,
  hyperparameters: Hyperparameters,
): ScenesPlan {
  const count = trainingCount(study, hyperparameters);
  const kinds = study.questions[role === 'perceiver' ? 'perceiver' : 'reasoner'];
  if (study.training_data.kind === 'rows') {
    const { name, directory } = study.training_data;
    const key = contentKey('rows', { name, count });
    return { key, split: 'train', count, questions: 1, kinds, seed: study.seed, directory };
  }
  return planScenes('train', count, 1, kinds, study.seed * 1000 + iteration * 10 + SCENE_SEED[role]);
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
  const heldOut = planScenes(
    'held-out',
    study.evaluation.scenes,
    study.evaluation.questions_per_scene,
    QuestionKind.options,
    0,
  );
  const evaluationJudging = {
    ...judging,
    images: imageRulesKey(IMAGE_RULES[study.evaluation.image_rules ?? study.image_rules]),
  };

  const evaluated = (
    id: string,
    after: string | null,
    strategies: Strategy[],
    model: ModelRef,
    perceiver?: ModelRef,
  ): EvaluationPlan => {
    const two = perceiver !== undefined && perceiver.key !== model.key;
    return {
      id,
      key: contentKey('evaluation', {
        model: model.key,
        ...(two && { perceiver: perceiver.key }),
        scenes: study.evaluation.benchmarks?.map((benchmark) => benchmark.name) ?? heldOut.key,
        strategies,
        perceiver_max_tokens: study.evaluation.perceiver_max_tokens,
        reasoner_max_tokens: study.evaluation.reasoner_max_tokens,
        ...evaluationJudging,
      }),
      after,
      model,
      ...(two && { perceiver }),
      checkpoint: perceiver === undefined ? model.name : `${perceiver.name} for ${model.name}`,
      scenes: heldOut,
      strategies,
    };
  };
  const evaluate = (model: ModelRef, after: string | null, suffix = ''): EvaluationPlan => {
    const trained: Strategy[] = study.schedule.includes('direct') ? ['direct', 'p2r'] : ['p2r'];
    const strategies = study.evaluation.strategies ?? (after === null ? ['direct', 'p2r'] : trained);
    return evaluated(evaluationId(after, suffix), after, strategies, model);
  };

  const phases: PhasePlan[] = [];
  const evaluations: EvaluationPlan[] = [evaluate(base, null)];
  let current: ModelRef = base;
  for (let iteration = 1; iteration <= study.iterations; iteration++) {
    for (const role of study.schedule) {
      const id = `iteration-${iteration}/${role}`;
      const decision = decisions[id];
      const hyperparameters = decided(id, hyperparametersOf(study, role), decision);
      const training = trainingScenes(study, role, iteration, hyperparameters);
      const other = role === 'direct' ? undefined : study.frozen?.[role];
      const frozen = other === undefined ? current : namedModel(study, `frozen.${role}`, other, base, phases);
      const key = contentKey(role, {
        engine_version: ENGINE_VERSION,
        engine: engineIdentity(study.engine),
        algorithm: study.algorithm.name === 'grpo' ? undefined : study.algorithm,
        start: current.key,
        frozen: frozen.key,
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
      const phase: PhasePlan = {
        id,
        iteration,
        role,
        key,
        start: current,
        frozen,
        scenes: training,
        hyperparameters,
        inherit: decision?.from ?? null,
        skipped: skip !== null,
        result,
      };
      phases.push(phase);
      for (const step of skip === null ? evaluatedSteps(study, hyperparameters) : [])
        evaluations.push(evaluate(checkpointOf(phase, step), id, `-step-${step}`));
      current = result;
      evaluations.push(evaluate(current, id));
    }
  }
  const pairs = (study.evaluation.pairs ?? []).map((pair, index) => {
    const where = `evaluation.pairs.${index}`;
    const perceiver = namedModel(study, `${where}.perceiver`, pair.perceiver, base, phases);
    const reasoner = namedModel(study, `${where}.reasoner`, pair.reasoner, base, phases);
    const id = `evaluation/${perceiver.name}-for-${reasoner.name}`;
    return evaluated(id, phases.at(-1)?.id ?? null, ['p2r'], reasoner, perceiver);
  });
  // The last evaluation of a phase is the phase's own.
  evaluations.splice(-1, 0, ...pairs);
  return { experiment, study, phases, evaluations };
}
