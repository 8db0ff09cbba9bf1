import { existsSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { beforeEach, expect, test } from 'vitest';
import { type ExperimentRecord, writeExperiment } from './experiments.ts';
import { checkpointsToKeep, deleteGarbage, findGarbage } from './garbage.ts';
import { openStore, type Store } from './layout.ts';

let store: Store;

beforeEach(() => {
  store = openStore(mkdtempSync(path.join(os.tmpdir(), 'p2r-garbage-')));
});

function phase(key: string, steps: number[], rewards: number[]): void {
  for (const step of steps) {
    mkdirSync(store.checkpoint(key, step), { recursive: true });
    writeFileSync(path.join(store.checkpoint(key, step), 'COMMITTED.json'), '{}');
  }
  mkdirSync(store.attempt(key, 1), { recursive: true });
  const rows = rewards.map((reward_mean, index) => JSON.stringify({ step: index + 1, time: 0, reward_mean }));
  writeFileSync(path.join(store.attempt(key, 1), 'metrics.jsonl'), `${rows.join('\n')}\n`);
}

const record: ExperimentRecord = {
  experiment: 'e',
  study: 's',
  seed: 1,
  created_at: 'now',
  config: {},
  base_key: 'm',
  phases: [
    {
      iteration: 1,
      name: 'perceiver',
      id: 'iteration-1/perceiver',
      key: 'used',
      total_steps: 6,
      skipped: false,
    },
  ],
  evaluations: [{ id: 'evaluation/base', key: 'evaluation-1', checkpoint: 'base', after: null }],
  decisions: {
    'iteration-1/perceiver': {
      overrides: {},
      from: { phase: 'older', step: 2 },
      skip: null,
      repeat: 0,
    },
  },
  revisions: [],
  lineage: null,
};

const never = async () => false;
const relative = (found: { directory: string }[]) =>
  found.map(({ directory }) => path.relative(store.home, directory)).sort();

test('what no experiment names goes, and so do superseded checkpoints; best, newest and referenced ones stay', async () => {
  await writeExperiment(store, record);
  phase('used', [1, 2, 3, 4, 5, 6], [0.1, 0.9, 0.2, 0.3, 0.4, 0.5]);
  phase('older', [1, 2, 3], [0, 0, 0.1]);
  phase('orphan', [1], [0]);
  mkdirSync(store.evaluation('evaluation-1'), { recursive: true });
  mkdirSync(store.evaluation('evaluation-2'), { recursive: true });
  mkdirSync(store.evaluation('eval-asked-for-by-hand'), { recursive: true });
  const found = await findGarbage(store, 1, never);
  expect(relative(found)).toEqual([
    'evaluations/evaluation-2',
    'phases/older/checkpoints/step-000001',
    'phases/orphan',
    'phases/used/checkpoints/step-000001',
    'phases/used/checkpoints/step-000003',
    'phases/used/checkpoints/step-000004',
    'phases/used/checkpoints/step-000005',
  ]);
  await deleteGarbage(found);
  expect(existsSync(store.checkpoint('used', 6))).toBe(true);
  expect(await findGarbage(store, 1, never)).toEqual([]);
});

test('a damaged checkpoint goes once its step has been computed again', async () => {
  await writeExperiment(store, record);
  phase('used', [5, 6], [0, 0, 0, 0, 0, 1]);
  for (const step of [5, 4]) {
    mkdirSync(`${store.checkpoint('used', step)}.corrupt-1`);
    writeFileSync(path.join(`${store.checkpoint('used', step)}.corrupt-1`, 'model.safetensors'), 'torn');
  }
  expect(relative(await findGarbage(store, 2, never))).toEqual([
    'phases/used/checkpoints/step-000005.corrupt-1',
  ]);
});

test('a phase in use is left alone, and an unreadable record stops everything', async () => {
  await writeExperiment(store, record);
  phase('orphan', [1], [0]);
  expect(await findGarbage(store, 1, async (key) => key === 'orphan')).toEqual([]);
  mkdirSync(store.run('broken'), { recursive: true });
  writeFileSync(store.experimentFile('broken'), '{');
  await expect(findGarbage(store, 1, never)).rejects.toThrow(/broken/);
});

test('nothing that is referred to is ever given up, whatever else there is', () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.integer({ min: 1, max: 60 }), { minLength: 1 }),
      fc.array(fc.integer({ min: 1, max: 60 })),
      fc.integer({ min: 1, max: 4 }),
      (steps, wanted, newest) => {
        const keep = checkpointsToKeep(steps, [], new Set(wanted), newest);
        for (const step of wanted) if (steps.includes(step)) expect(keep.has(step)).toBe(true);
        expect(keep.has(Math.max(...steps))).toBe(true);
        for (const step of keep) expect(steps).toContain(step);
      },
    ),
  );
});
