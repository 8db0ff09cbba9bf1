/** What a home directory holds that no experiment needs. */
import { readdir, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { committedSteps } from './checkpoints.ts';
import { type ExperimentRecord, readExperiment } from './experiments.ts';
import { CorruptFileError } from './files.ts';
import type { Store } from './layout.ts';
import { ASIDE } from './manifest.ts';
import { readPhaseMetrics } from './metrics.ts';

/** Something that may be deleted: a directory below the home, its size in bytes, and why. */
export type Garbage = { directory: string; bytes: number; why: string };

/** Which checkpoints of a phase stay: the last `newest`, the best by reward, and every one in `referenced` (steps). */
export function checkpointsToKeep(
  steps: number[],
  rewards: { step: number; reward: number | null }[],
  referenced: ReadonlySet<number>,
  newest: number,
): Set<number> {
  const committed = new Set(steps);
  const best = rewards
    .filter((row) => committed.has(row.step) && row.reward !== null)
    .reduce<{ step: number; reward: number } | null>(
      (found, { step, reward }) =>
        reward !== null && (found === null || reward >= found.reward) ? { step, reward } : found,
      null,
    );
  return new Set([
    ...[...steps].sort((a, b) => a - b).slice(-newest),
    ...(best === null ? [] : [best.step]),
    ...steps.filter((step) => referenced.has(step)),
  ]);
}

/** Keys of phases and evaluations that the experiments name, now or in an earlier revision, and the steps they refer to. */
function references(records: ExperimentRecord[]): { keys: Set<string>; steps: Map<string, Set<number>> } {
  const keys = new Set<string>();
  const steps = new Map<string, Set<number>>();
  const refer = (phase: string, step: number) => {
    keys.add(phase);
    const known = steps.get(phase) ?? new Set();
    steps.set(phase, known.add(step));
  };
  for (const record of records) {
    for (const phase of record.phases) refer(phase.key, phase.total_steps);
    for (const { uses } of [...record.phases, ...record.evaluations])
      for (const { phase, step } of uses ?? []) refer(phase, step);
    for (const evaluation of record.evaluations) keys.add(evaluation.key);
    const decisions = [
      ...Object.values(record.decisions),
      ...record.revisions.map((revision) => revision.decision),
    ];
    for (const revision of record.revisions) keys.add(revision.key);
    for (const { from, skip } of decisions) {
      if (from !== null) refer(from.phase, from.step);
      if (skip !== null && skip !== 'start') refer(skip.phase, skip.step);
    }
  }
  return { keys, steps };
}

/**
 * Everything below the home that no experiment needs. `inUse` says whether a process works in a phase; such a phase is left alone.
 * Throws CorruptFileError when an experiment's record cannot be read: then nobody knows what it needs.
 */
export async function findGarbage(
  store: Store,
  newest: number,
  inUse: (phaseKey: string) => Promise<boolean>,
): Promise<Garbage[]> {
  const records: ExperimentRecord[] = [];
  for (const name of await names(store.runs)) {
    const record = await readExperiment(store, name);
    if (record === null)
      throw new CorruptFileError(store.experimentFile(name), 'it is missing from a run directory');
    records.push(record);
  }
  const { keys, steps } = references(records);
  const found: Garbage[] = [];
  const add = async (directory: string, why: string) =>
    found.push({ directory, bytes: await sizeOf(directory), why });
  // Others were made by `p2r eval`: a person asked for them by name.
  for (const key of (await names(store.evaluations)).filter((name) => name.startsWith('evaluation-')))
    if (!keys.has(key)) await add(store.evaluation(key), 'no experiment names this evaluation');
  for (const key of await names(store.phases)) {
    if (await inUse(key)) continue;
    if (!keys.has(key)) {
      await add(store.phase(key), 'no experiment names this phase');
      continue;
    }
    const committed = await committedSteps(store, key);
    const curve = await readPhaseMetrics(store, key);
    const keep = checkpointsToKeep(
      committed,
      curve.map((row) => ({ step: row.step, reward: row.reward_mean ?? null })),
      steps.get(key) ?? new Set(),
      newest,
    );
    for (const step of committed)
      if (!keep.has(step)) await add(store.checkpoint(key, step), `checkpoint of step ${step} is superseded`);
    const again = new Map(committed.map((step) => [path.basename(store.checkpoint(key, step)), step]));
    const checkpoints = path.dirname(store.checkpoint(key, 0));
    for (const name of await names(checkpoints)) {
      const step = name.includes(ASIDE) ? again.get(name.slice(0, name.indexOf(ASIDE))) : undefined;
      if (step !== undefined)
        await add(path.join(checkpoints, name), `damaged; step ${step} was computed again since`);
    }
  }
  return found;
}

/** Deletes what {@link findGarbage} found. */
export async function deleteGarbage(garbage: Garbage[]): Promise<void> {
  for (const { directory } of garbage) await rm(directory, { recursive: true, force: true });
}

async function names(directory: string): Promise<string[]> {
  return readdir(directory).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
}

async function sizeOf(directory: string): Promise<number> {
  let bytes = 0;
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true }))
    if (entry.isFile()) bytes += (await stat(path.join(entry.parentPath, entry.name))).size;
  return bytes;
}
