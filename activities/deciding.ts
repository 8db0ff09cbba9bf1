/** What to do next, read from and written to the run directory: the plan as it stands, decisions, acceptance, early stop. */
import { existsSync } from 'node:fs';
import { cp, mkdir, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { ApplicationFailure } from '@temporalio/common';
import { checkpointFault, committedSteps } from '../store/checkpoints.ts';
import { readScores } from '../store/evaluations.ts';
import { appendEvent, type ExperimentRecord, readExperiment, writeExperiment } from '../store/experiments.ts';
import { writeFileAtomic } from '../store/files.ts';
import type { Store } from '../store/layout.ts';
import { setAside } from '../store/manifest.ts';
import { readPhaseMetrics } from '../store/metrics.ts';
import { shouldStopEarly, unmetRules } from '../studies/acceptance.ts';
import { OverridesInvalidError } from '../studies/overrides.ts';
import {
  type Change,
  PhaseUnknownError,
  phaseOf,
  planOf,
  type Request,
  revise,
} from '../studies/revisions.ts';
import type { Study } from '../studies/study.ts';
import type {
  EvaluationPlan,
  ModelRef,
  Outline,
  PhasePlan,
  RetryDecision,
  SkipDecision,
} from '../workflows/types.ts';

/** One phase of one experiment. */
export type PhaseAddress = { experiment: string; phase: string };

/** A decision as the gate passes it on; `request` makes a repetition harmless. */
export type DecideInput = PhaseAddress & { request: string } & (
    | ({ kind: 'retry' } & RetryDecision)
    | ({ kind: 'skip' } & SkipDecision)
  );

/** Activity factory. */
export function createDecidingActivities(store: Store) {
  async function load(experiment: string): Promise<ExperimentRecord> {
    const record = await readExperiment(store, experiment);
    if (record !== null) return record;
    throw ApplicationFailure.nonRetryable(
      `${store.experimentFile(experiment)} is missing: restore it, or start the study anew.`,
      'ExperimentMissing',
    );
  }

  async function apply(address: PhaseAddress, change: Change, request: Omit<Request, 'time'>): Promise<void> {
    const record = await load(address.experiment);
    const next = revise(record, address.phase, change, { ...request, time: new Date().toISOString() });
    if (next !== record) await writeExperiment(store, next);
  }

  /** The step of the phase's current key, when it is committed; refuses with the steps that are. */
  async function committed(phase: PhasePlan, step: number | null): Promise<number> {
    const steps = await committedSteps(store, phase.key);
    const found = step === null ? steps.at(-1) : steps.find((candidate) => candidate === step);
    if (found === undefined)
      throw refused(
        steps.length === 0
          ? `${phase.id} has no committed checkpoint yet`
          : `${phase.id} has no checkpoint of step ${step}; it has ${steps.map((known) => `step-${known}`).join(', ')}`,
      );
    const fault = await checkpointFault(store.checkpoint(phase.key, found));
    if (fault !== null) throw refused(`the checkpoint of step ${found} of ${phase.id} is damaged: ${fault}`);
    return found;
  }

  return {
    /** The parts of an experiment by id, as its record has them now. */
    async loadOutline({ experiment }: { experiment: string }): Promise<Outline> {
      const plan = planOf(await load(experiment));
      const numbers = [...new Set(plan.phases.map((phase) => phase.iteration))];
      return {
        study: plan.study.name,
        before: plan.evaluations.filter(({ after }) => after === null).map(({ id }) => id),
        iterations: numbers.map((number) =>
          plan.phases
            .filter((phase) => phase.iteration === number)
            .map((phase) => ({
              phase: phase.id,
              evaluations: plan.evaluations.filter(({ after }) => after === phase.id).map(({ id }) => id),
            })),
        ),
      };
    },

    /** A phase as decided so far. */
    async loadPhase({ experiment, phase }: PhaseAddress): Promise<{ study: Study; phase: PhasePlan }> {
      const plan = planOf(await load(experiment));
      return { study: plan.study, phase: phaseOf(plan, phase) };
    },

    /** An evaluation as decided so far. */
    async loadEvaluation(input: {
      experiment: string;
      evaluation: string;
    }): Promise<{ study: Study; evaluation: EvaluationPlan }> {
      const plan = planOf(await load(input.experiment));
      const evaluation = plan.evaluations.find(({ id }) => id === input.evaluation);
      if (evaluation === undefined)
        throw ApplicationFailure.nonRetryable(
          `${input.experiment} has no ${input.evaluation}.`,
          'ConfigInvalid',
        );
      return { study: plan.study, evaluation };
    },

    /**
     * Checks every file of the checkpoints that are about to be used. A damaged one is set aside and told; then this fails with
     * InputDamaged, and the experiment computes it again from the checkpoint before. One that another experiment trains and that is not
     * there is ConfigInvalid.
     */
    async verifyModels(input: { experiment: string; user: string; models: ModelRef[] }): Promise<void> {
      const { phases } = planOf(await load(input.experiment));
      for (const model of input.models) {
        if (model.kind !== 'phase') continue;
        const directory = store.checkpoint(model.phase, model.step);
        const fault = await checkpointFault(directory);
        if (fault === null) continue;
        if (!existsSync(directory) && !phases.some(({ key }) => key === model.phase))
          throw ApplicationFailure.nonRetryable(
            `${input.user} needs ${model.name} (step ${model.step} of ${model.phase}), which this experiment does not train: run the one that does, then this one again.`,
            'ConfigInvalid',
          );
        const aside = await setAside(directory).catch(() => null);
        await appendEvent(store, input.experiment, {
          type: 'checkpoint-damaged',
          phase: input.user,
          key: model.phase,
          detail: { message: fault, step: model.step, aside },
        });
        throw ApplicationFailure.nonRetryable(
          `${input.user} needs a checkpoint that is damaged (${fault}).`,
          'InputDamaged',
        );
      }
    },

    /** Brings the checkpoint that a retried phase goes on from, and the curve up to it, into the phase's own directory. */
    async inheritCheckpoint({ phase }: { phase: PhasePlan }): Promise<void> {
      if (phase.inherit === null) return;
      const { step } = phase.inherit;
      const target = store.checkpoint(phase.key, step);
      if ((await committedSteps(store, phase.key)).length > 0) return;
      const rows = (await readPhaseMetrics(store, phase.inherit.phase)).filter((row) => row.step <= step);
      const curve = path.join(store.attempt(phase.key, 1), 'metrics.jsonl');
      await writeFileAtomic(curve, rows.map(({ attempt: _, ...row }) => `${JSON.stringify(row)}\n`).join(''));
      const staging = `${path.dirname(target)}/.inherit-${process.pid}-${Date.now()}`;
      await mkdir(path.dirname(target), { recursive: true });
      try {
        await cp(store.checkpoint(phase.inherit.phase, step), staging, { recursive: true });
        const fault = await checkpointFault(staging);
        if (fault !== null) throw refused(`the checkpoint to go on from is damaged: ${fault}`);
        await rename(staging, target).catch((error: NodeJS.ErrnoException) => {
          if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error;
        });
      } finally {
        await rm(staging, { recursive: true, force: true });
      }
    },

    /** Why the finished phase is not accepted; null when it is. */
    async checkAcceptance({ experiment, phase }: PhaseAddress): Promise<string | null> {
      const plan = planOf(await load(experiment));
      const step = phaseOf(plan, phase);
      const rules = plan.study.gate.acceptance.filter((rule) => rule.role === step.role);
      const unmet = unmetRules(rules, await readPhaseMetrics(store, step.key));
      return unmet.length === 0 ? null : unmet.join('; ');
    },

    /**
     * Tries the study's automatic retries; true when one is left and has been written into the plan. A phase that failed goes on from
     * its newest checkpoint where its settings stay; one that `finished` without being accepted begins again.
     */
    async retryByRule({
      request,
      finished,
      ...address
    }: PhaseAddress & { request: string; finished: boolean }): Promise<boolean> {
      const record = await load(address.experiment);
      const plan = planOf(record);
      const { role } = phaseOf(plan, address.phase);
      const mine = record.revisions.filter(
        ({ phase, kind }) => phase === address.phase && kind === 'automatic-retry',
      );
      if (mine.some((revision) => revision.request === request)) return true;
      const schedule = plan.study.gate.retries
        .filter((retry) => retry.role === role)
        .flatMap((retry) => Array.from({ length: retry.times }, () => retry.overrides));
      const overrides = schedule[mine.length];
      if (overrides === undefined) return false;
      await apply(address, { overrides, again: finished }, { kind: 'automatic-retry', request });
      return true;
    },

    /** Writes a person's decision into the plan; fails with DecisionRefused, and then nothing has changed. */
    async decide(input: DecideInput): Promise<void> {
      const { experiment, phase, request } = input;
      const current = phaseOf(planOf(await load(experiment)), phase);
      try {
        if (input.kind === 'skip') {
          const skip =
            input.use === 'start'
              ? ('start' as const)
              : { phase: current.key, step: await committed(current, null) };
          await apply({ experiment, phase }, { skip }, { kind: 'skip', request });
          return;
        }
        const step = input.fromCheckpoint ?? null;
        const from = step === null ? null : { phase: current.key, step: await committed(current, step) };
        const change: Change = { overrides: input.overrides ?? {}, from };
        await apply({ experiment, phase }, change, { kind: 'retry', request });
      } catch (error) {
        if (error instanceof OverridesInvalidError || error instanceof PhaseUnknownError)
          throw refused(error.message);
        throw error;
      }
    },

    /** Whether the study's early-stop rule ends the experiment after this iteration (1-based). */
    async stopsEarly({ experiment, iteration }: { experiment: string; iteration: number }): Promise<boolean> {
      const plan = planOf(await load(experiment));
      const rule = plan.study.early_stop;
      if (rule === undefined) return false;
      const lasts = Array.from(
        { length: iteration },
        (_, index) => plan.phases.findLast((phase) => phase.iteration === index + 1)?.id,
      );
      const accuracies: number[] = [];
      for (const id of [null, ...lasts]) {
        const evaluation = plan.evaluations.findLast((candidate) => candidate.after === id);
        const scores = evaluation && (await readScores(store, evaluation.key));
        if (scores?.strategies.p2r === undefined)
          throw ApplicationFailure.retryable(`The scores after ${id ?? 'the base'} are missing.`);
        accuracies.push(scores.strategies.p2r.accuracy);
      }
      return shouldStopEarly(accuracies, rule);
    },
  };
}

function refused(message: string): ApplicationFailure {
  return ApplicationFailure.nonRetryable(message, 'DecisionRefused');
}
