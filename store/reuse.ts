/** What of an experiment is on disk already: the answer to "what will be computed?" before anything runs. */

import { stat } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { CommitMarker, committedSteps } from './checkpoints.ts';
import { evaluationFiles, readScores } from './evaluations.ts';
import type { ExperimentRecord } from './experiments.ts';
import { readJson } from './files.ts';
import type { Store } from './layout.ts';

/** What a run would do with one part. `made_at` is when the reused result (or checkpoint) was written. */
export type PlannedStep = {
  id: string;
  key: string;
  action: 'reuse' | 'continue' | 'run' | 'skip';
  from_step: number;
  made_at: string | null;
  why: string;
  warning: string | null;
};

/** phase.json: what a phase key stands for. */
export const PhaseFile = z.looseObject({
  config: z.looseObject({
    study: z.string(),
    serving: z.looseObject({ kind: z.string() }).optional(),
    hyperparameters: z.record(z.string(), z.unknown()),
  }),
});

/**
 * Every part of `record` in order: reused, continued from a checkpoint, run, or skipped, and why. `before` is the record it was made
 * from, so that a changed key is explained by the change that caused it. Files are not verified here; they are when they are used.
 */
export async function plannedSteps(
  store: Store,
  record: ExperimentRecord,
  before: ExperimentRecord | null,
): Promise<PlannedStep[]> {
  const known = new Map(
    [...(before?.phases ?? []), ...(before?.evaluations ?? [])].map(({ id, key }) => [id, key]),
  );
  const steps: PlannedStep[] = [];
  let cause: string | null = null;
  for (const evaluation of record.evaluations.filter(({ after }) => after === null))
    steps.push(await plannedEvaluation(store, evaluation, cause));
  for (const phase of record.phases) {
    const isChanged = known.has(phase.id) && known.get(phase.id) !== phase.key;
    const why = isChanged
      ? cause === null
        ? `its settings change: ${settingChanges(before, record, phase.id)}`
        : `${cause} changes`
      : null;
    if (isChanged) cause ??= phase.id;
    steps.push(await plannedPhase(store, record, phase, why));
    for (const evaluation of record.evaluations.filter(({ after }) => after === phase.id))
      steps.push(await plannedEvaluation(store, evaluation, cause));
  }
  return steps;
}

async function plannedPhase(
  store: Store,
  record: ExperimentRecord,
  phase: ExperimentRecord['phases'][number],
  change: string | null,
): Promise<PlannedStep> {
  const base = { id: phase.id, key: phase.key };
  if (phase.skipped)
    return { ...base, action: 'skip', from_step: 0, made_at: null, why: 'as decided', warning: null };
  const step = (await committedSteps(store, phase.key)).at(-1) ?? 0;
  if (step === 0) {
    const from = record.decisions[phase.id]?.from ?? null;
    const why = change ?? 'nothing has been computed under its key';
    return {
      ...base,
      action: 'run',
      from_step: from?.step ?? 0,
      made_at: null,
      why: from === null ? why : `${why}; it goes on from step ${from.step} of ${from.phase}`,
      warning: null,
    };
  }
  const marker = await readJson(
    path.join(store.checkpoint(phase.key, step), 'COMMITTED.json'),
    CommitMarker,
  ).catch(() => null);
  const made = marker === null ? null : new Date(secondsOrText(marker.created_at)).toISOString();
  const file = await readJson(store.phaseFile(phase.key), PhaseFile).catch(() => null);
  const serving = z.looseObject({ kind: z.string() }).safeParse(record.config.serving).data?.kind;
  const madeWith = file?.config.serving?.kind;
  const warning =
    serving !== undefined && madeWith !== undefined && madeWith !== serving
      ? `its rewards were computed by a "${madeWith}" server, this study names "${serving}"`
      : null;
  const finished = step === phase.total_steps;
  return {
    ...base,
    action: finished ? 'reuse' : 'continue',
    from_step: step,
    made_at: made,
    why: finished
      ? `computed${file === null ? '' : ` for ${file.config.study}`}`
      : `${step} of ${phase.total_steps} steps are committed`,
    warning,
  };
}

async function plannedEvaluation(
  store: Store,
  evaluation: { id: string; key: string },
  cause: string | null,
): Promise<PlannedStep> {
  const base = { id: evaluation.id, key: evaluation.key, from_step: 0, warning: null };
  const scores = await readScores(store, evaluation.key).catch(() => null);
  if (scores === null)
    return {
      ...base,
      action: 'run',
      made_at: null,
      why: cause === null ? 'nothing has been computed under its key' : `${cause} changes`,
    };
  const { mtime } = await stat(evaluationFiles(store, evaluation.key).scores);
  return { ...base, action: 'reuse', made_at: mtime.toISOString(), why: 'computed' };
}

function secondsOrText(value: string | number): string | number {
  return typeof value === 'number' ? value * 1000 : value;
}

/** `lr, from`: names of what differs in the decisions about a phase, or in the study. */
function settingChanges(before: ExperimentRecord | null, after: ExperimentRecord, id: string): string {
  const then = before?.decisions[id];
  const now = after.decisions[id];
  const names = new Set([...Object.keys(then?.overrides ?? {}), ...Object.keys(now?.overrides ?? {})]);
  const changed = [...names]
    .filter((name) => then?.overrides[name] !== now?.overrides[name])
    .map((name) => `${name} = ${String(now?.overrides[name] ?? "the study's")}`);
  if (now?.from && JSON.stringify(then?.from ?? null) !== JSON.stringify(now.from))
    changed.push(`begins at step ${now.from.step}`);
  if ((then?.repeat ?? 0) !== (now?.repeat ?? 0)) changed.push('once more');
  if (changed.length > 0) return changed.join(', ');
  const earlier = leaves(before?.config ?? {});
  const differing = [...leaves(after.config)]
    .filter(([name, value]) => earlier.get(name) !== value)
    .map(([name, value]) => `${name} = ${value}`);
  return differing.length > 0 ? differing.join(', ') : 'the study differs';
}

/** Values by dotted key, as text. */
function leaves(value: Record<string, unknown>, prefix = ''): Map<string, string> {
  return new Map(
    Object.entries(value).flatMap(([name, inner]) =>
      typeof inner === 'object' && inner !== null && !Array.isArray(inner)
        ? [...leaves(inner as Record<string, unknown>, `${prefix}${name}.`)]
        : [[`${prefix}${name}`, JSON.stringify(inner)] as const],
    ),
  );
}
