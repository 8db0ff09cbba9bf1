/** Runs an experiment and strikes it again and again, each time once it has recovered from the fault before. */
import { setTimeout as sleep } from 'node:timers/promises';
import { seededRandom } from '../../benchmarks/statistics/random.ts';
import { readPhaseMetrics } from '../../store/metrics.ts';
import { Deck } from './deck.ts';
import type { Fault } from './faults.ts';
import { type Look, PROJECT, type Stack } from './stack.ts';
import { recomputedSteps, Watcher } from './watch.ts';

/** One fault and what became of it. `seconds`: from the beginning of the fault to the first result that was begun after its end. */
export type Outcome = {
  number: number;
  fault: string;
  part: string;
  step: number;
  seconds: number;
  /** What the experiment went on with: a trained step, an answer (evidence, evaluation), or its end. */
  by: 'step' | 'answer' | 'end';
  recomputed: number;
  /** What the gate said where the phase waited for a decision; the experiment went on by itself where it is empty. */
  gate: string[];
};

export type Disturbance = { outcomes: Outcome[]; violations: string[]; looks: number };

/** An experiment that shows no result for this long has not recovered. */
const GIVEN_UP_MS = 600_000;
const LOOK_MS = 200;

/** After this long without a fault that fits what is being computed, all kinds are tried again. */
const UNFIT_MS = 15_000;

export type DisturbOptions = {
  study: string;
  seed: number;
  faults: Fault[];
  count: number;
  say: (line: string) => void;
};

/** Starts the experiment of `stack`, injects `count` faults and waits for its end. Services are left running. */
export async function disturb(stack: Stack, options: DisturbOptions): Promise<Disturbance> {
  const { study, seed, faults, count, say } = options;
  const random = seededRandom(seed);
  const deck = new Deck(faults, random);
  const outcomes: Outcome[] = [];
  const watcher = new Watcher(stack);
  const problems: string[] = [];
  await stack.start(study, seed);
  watcher.start();
  try {
    let look = await stack.look();
    let struck = Date.now();
    let part = '';
    while (outcomes.length < count) {
      await sleep(random() * 2000);
      look = await stack.look();
      if (look.progress.state === 'completed') break;
      if (look.part === null) continue;
      if (look.part.key !== part) {
        part = look.part.key;
        await stack.collectGarbage();
      }
      const fault = deck.draw((candidate) => candidate.applies(look, stack));
      if (fault === null) {
        if (Date.now() - struck > UNFIT_MS) deck.deal();
        continue;
      }
      const outcome = await strike(stack, fault, outcomes.length + 1, look, random, options);
      outcomes.push(outcome);
      struck = Date.now();
      const gate = outcome.gate.length === 0 ? '' : `; ${outcome.gate.join('; ')}`;
      say(
        `${String(outcome.number).padStart(3)} ${fault.name} at ${outcome.part} step ${outcome.step}: next ${outcome.by} after ${outcome.seconds.toFixed(1)} s, ${outcome.recomputed} recomputed${gate}`,
      );
    }
    if (outcomes.length < count)
      problems.push(
        `the experiment was over after ${outcomes.length} of ${count} faults: give it more steps`,
      );
    await untilEnd(stack, say);
  } catch (error) {
    problems.push(error instanceof Error ? error.message : String(error));
  } finally {
    await watcher.stop();
  }
  return { outcomes, violations: [...watcher.violations, ...problems], looks: watcher.looks };
}

async function strike(
  stack: Stack,
  fault: Fault,
  number: number,
  look: Look,
  random: () => number,
  { say, study, seed }: DisturbOptions,
): Promise<Outcome> {
  const { part } = look;
  if (part === null) throw new Error('Nothing runs at the moment.');
  const before = await recomputedSteps(stack);
  const started = Date.now();
  await fault.inject({ stack, look, random });
  const lifted = Date.now();
  const gate: string[] = [];
  let answered = await stack.answered();
  let deadline = Date.now() + GIVEN_UP_MS;
  for (;;) {
    const { progress } = await stack.look();
    const waiting = progress.steps.find((step) => step.state === 'waiting');
    if (waiting !== undefined) {
      if (!waiting.message) throw new Error(`${waiting.id} waits and does not say why.`);
      gate.push(waiting.message);
      say(`    ${waiting.id} waits: ${waiting.message}`);
      await stack.p2r('retry', stack.experiment, waiting.id);
      deadline = Date.now() + GIVEN_UP_MS;
    }
    if (progress.state === 'failed' || progress.state === 'cancelled')
      throw new Error(`${fault.name} at ${part.id}: the experiment ${progress.state}: ${progress.message}`);
    const done = async (by: Outcome['by'], at: number): Promise<Outcome> => ({
      number,
      fault: fault.name,
      part: part.id,
      step: part.step,
      seconds: (at - started) / 1000,
      by,
      recomputed: (await recomputedSteps(stack)) - before,
      gate,
    });
    const step = await firstStepSince(stack, lifted);
    if (step !== null) return done('step', step);
    const now = await stack.answered();
    if (now > answered) return done('answer', Date.now());
    answered = now;
    if (progress.state === 'completed') return done('end', Date.now());
    if (Date.now() > deadline)
      throw new Error(
        `${fault.name} at ${part.id} step ${part.step}: no result for ${GIVEN_UP_MS / 1000} s (${study}, seed ${seed}, fault ${number}; look into ${stack.home}, the project is ${PROJECT})`,
      );
    await sleep(LOOK_MS);
  }
}

/** When the first step was finished that began after `since` (ms); null when there is none yet. */
async function firstStepSince(stack: Stack, since: number): Promise<number | null> {
  const { phases } = await stack.record();
  const ends: number[] = [];
  for (const { key } of phases)
    for (const row of await readPhaseMetrics(stack.store, key)) {
      const end = row.time * 1000;
      if (end - (row.step_seconds ?? 0) * 1000 >= since) ends.push(end);
    }
  return ends.length === 0 ? null : Math.min(...ends);
}

/** Waits until the experiment has completed; a phase that waits is retried, as its user would. */
export async function untilEnd(stack: Stack, say: (line: string) => void): Promise<void> {
  let stamp = '';
  let finished = 0;
  for (let since = Date.now(); ; await sleep(500)) {
    const { progress } = await stack.look();
    if (progress.state === 'completed') return;
    if (progress.state === 'failed' || progress.state === 'cancelled')
      throw new Error(`The experiment ${progress.state}: ${progress.message}`);
    const waiting = progress.steps.find((step) => step.state === 'waiting');
    if (waiting !== undefined) {
      say(`    ${waiting.id} waits: ${waiting.message}`);
      await stack.p2r('retry', stack.experiment, waiting.id);
    }
    const now = JSON.stringify(progress.steps.map(({ state, step }) => [state, step]));
    if (now !== stamp) {
      since = Date.now();
      const done = progress.steps.filter(({ state }) => state === 'completed').length;
      if (done > finished) await stack.collectGarbage();
      finished = done;
    }
    stamp = now;
    if (Date.now() - since > GIVEN_UP_MS)
      throw new Error(
        `${stack.experiment} made no progress for ${GIVEN_UP_MS / 1000} s; look into ${stack.home}`,
      );
  }
}
