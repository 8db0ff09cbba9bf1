import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { MockActivityEnvironment } from '@temporalio/testing';
import sharp from 'sharp';
import { beforeEach, expect, test } from 'vitest';
import { readEvents } from '../store/experiments.ts';
import { openStore, type Store } from '../store/layout.ts';
import { loadStudy } from '../studies/index.ts';
import { planExperiment } from '../studies/plan.ts';
import type { PhasePlan } from '../workflows/types.ts';
import { createDatasetActivities, trainingSetFault } from './datasets.ts';
import { datasetFiles } from './phase-files.ts';
import { createTrainingActivities } from './training.ts';

let store: Store;
let source: string;
const user = { experiment: 'e', part: 'iteration-1/perceiver' };

beforeEach(async () => {
  const root = mkdtempSync(path.join(os.tmpdir(), 'p2r-datasets-'));
  store = openStore(path.join(root, 'home'));
  source = path.join(root, 'source');
  mkdirSync(source);
  await sharp({ create: { width: 64, height: 64, channels: 3, background: '#336699' } })
    .jpeg()
    .toFile(path.join(source, 'a.jpg'));
  const rows = ['s0', 's1'].map((sample_id) => ({
    sample_id,
    image: 'a.jpg',
    width: 64,
    height: 64,
    question: 'Which letter?',
    options: ['X', 'Y'],
    answer: 'A',
    kind: 'letter',
    boxes: [[1, 1, 9, 9]],
    labels: ['letter'],
    split: 'train',
  }));
  writeFileSync(path.join(source, 'rows.jsonl'), rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
});

/** The smoke study's perceiver phase on the two rows. */
async function prepared() {
  const study = await loadStudy('tiny-smoke');
  const [planned] = planExperiment(study, 'e', 'weights-1').phases;
  const scenes = { ...(planned as PhasePlan).scenes, directory: source, count: 2 };
  const phase: PhasePlan = { ...(planned as PhasePlan), scenes };
  const { prepareScenes, preparePerceiverSet } = createDatasetActivities(store);
  const run = <A, R>(activity: (input: A) => Promise<R>, input: A) =>
    new MockActivityEnvironment().run(activity, input);
  return {
    phase,
    scenes: () => run(prepareScenes, { ...scenes, user }),
    training: () => run(preparePerceiverSet, { experiment: 'e', study, phase }),
    train: () => run(createTrainingActivities(store).trainRole, { study, phase }),
  };
}

test('scenes are checked when they are used: damaged ones are set aside, told and made anew', async () => {
  const { scenes, phase } = await prepared();
  await scenes();
  await scenes();
  expect(await readEvents(store, 'e')).toEqual([]);
  const file = path.join(store.scenes(phase.scenes.key), 'rows.jsonl');
  const whole = readFileSync(file, 'utf8');
  writeFileSync(file, whole.replace('"answer":"A"', '"answer":"B"'));
  await scenes();
  expect(readFileSync(file, 'utf8')).toBe(whole);
  expect(await readEvents(store, 'e')).toMatchObject([
    { type: 'dataset-damaged', phase: user.part, detail: { aside: `${phase.scenes.key}.corrupt-1` } },
  ]);
});

test('scenes of an earlier version, without a manifest, are taken when their rows can be read', async () => {
  const { scenes, phase } = await prepared();
  await scenes();
  const manifest = path.join(store.scenes(phase.scenes.key), 'MANIFEST.json');
  const written = readFileSync(manifest, 'utf8');
  rmSync(manifest);
  await scenes();
  expect(readFileSync(manifest, 'utf8')).toBe(written);
});

test('no trainer is started on a damaged training set; it is set aside, told and written again', async () => {
  const { scenes, training, train, phase } = await prepared();
  await scenes();
  await training();
  const files = datasetFiles(store, phase.key);
  const image = path.join(files.images, readdirSync(files.images)[0] ?? '');
  const whole = readFileSync(image);
  writeFileSync(files.perceptions, '{"sample_id":"s0","text":"[]"}\n');
  expect(await trainingSetFault(store, phase.key)).toBeNull();
  const damaged = Buffer.from(whole);
  damaged[damaged.length - 9] = (damaged.at(-9) ?? 0) ^ 1;
  writeFileSync(image, damaged);
  await expect(train()).rejects.toMatchObject({ type: 'InputDamaged' });
  expect(existsSync(store.attempt(phase.key, 1))).toBe(false);
  await training();
  expect(readFileSync(image)).toEqual(whole);
  expect(existsSync(files.perceptions)).toBe(true);
  expect(await trainingSetFault(store, phase.key)).toBeNull();
  expect(await readEvents(store, 'e')).toMatchObject([
    { type: 'dataset-damaged', phase: 'iteration-1/perceiver', detail: { aside: 'dataset.corrupt-1' } },
  ]);
});
