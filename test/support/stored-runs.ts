/** The stored runs of real models (notebooks/example), read from their files: what tests expect of whatever reads them. */
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';

/** Runs of real models, kept small. */
export const EXAMPLE = path.resolve(import.meta.dirname, '..', '..', 'notebooks', 'example');

/** What is known of a stored run from its files, read here without the dashboard. */
export type StoredRun = {
  experiment: string;
  phases: { id: string; key: string; name: string; total_steps: number }[];
  evaluations: { id: string; key: string; checkpoint: string; after: string | null }[];
  /** Rows of metrics by phase, in the phases' order. */
  rows: Record<string, number | null>[][];
  /** Completions in the rollouts that were kept. */
  rollouts: number;
  /** Strategies by evaluation, in the evaluations' order. */
  strategies: string[][];
  /** A held-out sample whose image was kept. */
  heldOut: string;
};

const json = async (...parts: string[]) => JSON.parse(await readFile(path.join(EXAMPLE, ...parts), 'utf8'));
const lines = async (...parts: string[]) =>
  (await readFile(path.join(EXAMPLE, ...parts), 'utf8'))
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));

/** The stored run that has the most phases with rollouts, and the names of all. */
export async function storedRuns(): Promise<{ run: StoredRun; names: string[] }> {
  const names = (await readdir(path.join(EXAMPLE, 'runs'))).sort();
  const steps = async (key: string): Promise<string[]> =>
    readdir(path.join(EXAMPLE, 'phases', key, 'rollouts')).catch(() => []);
  let best: { run: StoredRun; shown: number } | null = null;
  for (const name of names) {
    const run = (await json('runs', name, 'experiment.json')) as StoredRun;
    const files = await Promise.all(run.phases.map(({ key }) => steps(key)));
    const shown = files.filter((kept) => kept.length > 0).length;
    if (best === null || shown > best.shown) best = { run, shown };
  }
  if (best === null || best.shown === 0) throw new Error('no stored run has rollouts');
  const { run } = best;
  run.rows = [];
  run.rollouts = 0;
  for (const { key } of run.phases) {
    run.rows.push(await lines('phases', key, 'attempts', '1', 'metrics.jsonl'));
    const { hyperparameters } = (await json('phases', key, 'phase.json')).config;
    run.rollouts += (await steps(key)).length * hyperparameters.train_batch_size * hyperparameters.rollout_n;
  }
  run.strategies = [];
  for (const { key } of run.evaluations)
    run.strategies.push(Object.keys((await json('evaluations', key, 'scores.json')).strategies));
  for (const dataset of await readdir(path.join(EXAMPLE, 'datasets')))
    for (const { split, sample_id } of await lines('datasets', dataset, 'rows.jsonl'))
      if (split === 'held-out') run.heldOut = sample_id;
  return { run, names };
}
