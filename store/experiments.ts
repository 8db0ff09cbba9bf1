/** Experiments on disk: the resolved plan a run was started with, and the events that tell its story. */
import { readdir } from 'node:fs/promises';
import { z } from 'zod';
import { JsonLinesWriter, readJson, readJsonLines, writeJson } from './files.ts';
import type { Store } from './layout.ts';

/** A committed checkpoint of a phase. */
export const CheckpointRef = z.object({ phase: z.string(), step: z.int().positive() });
export type CheckpointRef = z.infer<typeof CheckpointRef>;

/** A training phase of the plan as the store keeps it. */
export const PhaseRecord = z.looseObject({
  iteration: z.int().positive(),
  name: z.enum(['perceiver', 'reasoner', 'direct']),
  id: z.string(),
  key: z.string(),
  total_steps: z.int().positive(),
  skipped: z.boolean().default(false),
  uses: z.array(CheckpointRef).optional().describe('checkpoints it builds on'),
});

/** An evaluation of the plan as the store keeps it. */
export const EvaluationRecord = z.looseObject({
  id: z.string(),
  key: z.string(),
  checkpoint: z.string(),
  after: z.string().nullable(),
  pair: z.boolean().optional().describe('two checkpoints share the roles: no point of the curve'),
  uses: z.array(CheckpointRef).optional().describe('checkpoints it asks'),
});

/**
 * What people (or the gate's rules) decided about one phase, as it stands: other hyper-parameters, a checkpoint of an earlier key to
 * go on from, a phase that is left as it is (`skip`: its start or a checkpoint is used instead), a repetition, or an accepted result.
 */
export const PhaseDecision = z.object({
  overrides: z.record(z.string(), z.union([z.number(), z.string()])).default({}),
  from: CheckpointRef.nullable().default(null),
  skip: z
    .union([z.literal('start'), CheckpointRef])
    .nullable()
    .default(null),
  repeat: z.int().nonnegative().default(0),
});
export type PhaseDecision = z.infer<typeof PhaseDecision>;

/** One decision in the order in which they were taken. */
export const Revision = z.object({
  time: z.string(),
  request: z.string().describe('id of the request, so that a repeated one changes nothing'),
  kind: z.enum(['retry', 'automatic-retry', 'skip', 'rerun', 'fork']),
  phase: z.string(),
  key: z.string().describe('key that the phase had before'),
  decision: PhaseDecision,
});
export type Revision = z.infer<typeof Revision>;

/** experiment.json: everything that was decided before the run started. */
export const ExperimentRecord = z.object({
  experiment: z.string(),
  study: z.string(),
  seed: z.int(),
  created_at: z.string(),
  phases: z.array(PhaseRecord),
  evaluations: z.array(EvaluationRecord),
  config: z.record(z.string(), z.unknown()),
  base_key: z.string().default('').describe('content key of the base model'),
  decisions: z.record(z.string(), PhaseDecision).default({}),
  revisions: z.array(Revision).default([]),
  lineage: z.object({ parent: z.string(), at: z.string() }).nullable().default(null),
});
export type ExperimentRecord = z.infer<typeof ExperimentRecord>;

/** One line of events.jsonl. */
export const ExperimentEvent = z.object({
  time: z.string(),
  type: z.enum([
    'experiment-started',
    'experiment-completed',
    'experiment-failed',
    'experiment-cancelled',
    'phase-queued',
    'phase-started',
    'phase-reused',
    'phase-completed',
    'phase-failed',
    'phase-waiting',
    'phase-retried',
    'host-lost',
    'phase-skipped',
    'checkpoint-damaged',
    'dataset-damaged',
    'predictions-damaged',
    'experiment-paused',
    'experiment-resumed',
    'experiment-stopped-early',
    'evaluation-queued',
    'evaluation-started',
    'evaluation-reused',
    'evaluation-completed',
    'evaluation-failed',
  ]),
  phase: z.string().nullable(),
  key: z.string().nullable(),
  detail: z.record(z.string(), z.unknown()),
});
export type ExperimentEvent = z.infer<typeof ExperimentEvent>;

/** Writes experiment.json; an earlier one of the same id is replaced. */
export async function writeExperiment(store: Store, record: ExperimentRecord): Promise<void> {
  await writeJson(store.experimentFile(record.experiment), record);
}

/** The experiment's record, or null when there is none. */
export async function readExperiment(store: Store, experiment: string): Promise<ExperimentRecord | null> {
  return readJson(store.experimentFile(experiment), ExperimentRecord);
}

/** All experiments of a home, newest first; a directory without a readable record is left out. */
export async function listExperiments(store: Store): Promise<ExperimentRecord[]> {
  const names = await readdir(store.runs).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  const records = await Promise.all(names.map((name) => readExperiment(store, name).catch(() => null)));
  return records.filter((record) => record !== null).sort((a, b) => (a.created_at < b.created_at ? 1 : -1));
}

/** Appends one event; it has reached the disk when the promise resolves. */
export async function appendEvent(
  store: Store,
  experiment: string,
  event: Omit<ExperimentEvent, 'time'>,
): Promise<void> {
  await new JsonLinesWriter(store.eventsFile(experiment)).append({
    time: new Date().toISOString(),
    ...event,
  });
}

/** The experiment's events, oldest first. */
export async function readEvents(store: Store, experiment: string): Promise<ExperimentEvent[]> {
  return readJsonLines(store.eventsFile(experiment), ExperimentEvent);
}

/** Where each phase lies on the run's step axis: phases are laid end to end in the record's order; step n of a phase is `from + n`. */
export function stepOffsets(record: ExperimentRecord): { id: string; from: number; to: number }[] {
  let from = 0;
  return record.phases.map((phase) => {
    const placed = { id: phase.id, from, to: from + phase.total_steps };
    from = placed.to;
    return placed;
  });
}

/** The run's step of the checkpoint that an evaluation scores: 0 for the base; an earlier step of a phase is part of the checkpoint's name. */
export function evaluatedStep(
  record: ExperimentRecord,
  { after, checkpoint }: { after: string | null; checkpoint: string },
): number {
  const phase = stepOffsets(record).find(({ id }) => id === after);
  if (phase === undefined) return 0;
  const step = /-step-(\d+)$/.exec(checkpoint)?.[1];
  return step === undefined ? phase.to : phase.from + Number(step);
}
