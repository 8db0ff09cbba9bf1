/** The experiment that is disturbed: two prompts a step, a checkpoint every step, and as many steps as the faults need. */
import tinySmoke from '../../studies/tiny-smoke.ts';

/** Steps that pass, on average, from one fault to the next (1.2 to 1.8 measured), with some to spare. */
const STEPS_PER_FAULT = 2;
/** So that a phase's checkpoints stay within the disk: one is some 70 MB. */
const FAULTS_PER_ITERATION = 20;

/** A study with room for `faults` faults. */
export function chaosStudy(faults: number) {
  const iterations = Math.ceil(faults / FAULTS_PER_ITERATION);
  const steps = {
    train_batch_size: 2,
    ppo_mini_batch_size: 2,
    ppo_micro_batch_size: 2,
    rollout_n: 4,
    total_steps: Math.max(4, Math.ceil((faults * STEPS_PER_FAULT) / (2 * iterations))),
    save_freq: 1,
  };
  return {
    ...tinySmoke,
    name: 'chaos',
    title: 'Many cheap steps, to be struck by faults',
    iterations,
    engine: { ...tinySmoke.engine, threads: 1 },
    perceiver: { ...tinySmoke.perceiver, ...steps, max_response_length: 60 },
    reasoner: { ...tinySmoke.reasoner, ...steps, max_response_length: 40 },
    evaluation: { ...tinySmoke.evaluation, scenes: 1, questions_per_scene: 3 },
  };
}
