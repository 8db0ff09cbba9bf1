import { existsSync } from 'node:fs';
import { copyFile, mkdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { ApplicationFailure } from '@temporalio/common';
import pLimit from 'p-limit';
import pRetry from 'p-retry';
import { decodeImage, IMAGE_RULES, prepareWhole } from '../method/images.ts';
import { appendEvent } from '../store/experiments.ts';
import { JsonLinesWriter, readJsonLines, writeFileAtomic, writeJson } from '../store/files.ts';
import type { Store } from '../store/layout.ts';
import { manifestFault, setAside, writeManifest } from '../store/manifest.ts';
import { readSamples } from '../store/samples.ts';
import { type TrainingRow, writeTrainingSet } from '../store/training-set.ts';
import type { Study } from '../studies/study.ts';
import type { PhasePlan, ScenesPlan } from '../workflows/types.ts';
import { PROJECT } from './environment.ts';
import { beating, cancelled } from './heartbeats.ts';
import { datasetFiles, serviceFiles } from './phase-files.ts';
import { Perception } from './rewards/perception.ts';
import { Roles, renderRole } from './roles.ts';
import { drawScenes, ScenesFailed, scenesAreThere } from './scenes.ts';

/** `experiment` is told what was found damaged. */
type PhaseInput = { experiment: string; study: Study; phase: PhasePlan };

/** The part of an experiment that uses something, which is told what was found damaged. */
type User = { experiment: string; part: string };

/** Activity factory. */
export function createDatasetActivities(store: Store) {
  return {
    /** Draws a needle-scene dataset, or takes the rows of a directory, unless it is there already and whole. */
    async prepareScenes({ user, ...scenes }: ScenesPlan & { user?: User }): Promise<void> {
      const directory = store.scenes(scenes.key);
      using _beat = beating(() => ({ scenes: scenes.key }));
      const damage = (fault: string, aside: string | null) =>
        tellDamage(store, user, scenes.key, fault, aside);
      if (await scenesAreThere(directory, damage)) return;
      if (scenes.directory !== undefined) {
        await takeRows(path.resolve(PROJECT, scenes.directory), scenes.count, directory);
        await writeManifest(directory);
        return;
      }
      await drawScenes(store, scenes).catch((error: Error) => {
        throw error instanceof ScenesFailed
          ? ApplicationFailure.create({ type: 'ScenesFailed', message: error.message })
          : error;
      });
    },

    /** Writes the perceiver's training set: one prompt and one image (at the model's pixel budget) a sample. */
    async preparePerceiverSet(input: PhaseInput): Promise<void> {
      await writeWholeImageSet(store, input, 'perceiver');
    },

    /** Writes the direct baseline's training set: the same images, with the question to think about in text. */
    async prepareDirectSet(input: PhaseInput): Promise<void> {
      await writeWholeImageSet(store, input, 'direct');
    },

    /** Asks the frozen perceiver once about every training sample, and stores boxes, annotated images and crops as the dataset. */
    async collectEvidence(input: PhaseInput): Promise<void> {
      const { study, phase } = input;
      const files = datasetFiles(store, phase.key);
      using _beat = beating(() => ({ evidence: phase.key }));
      await writePhaseRecord(store, study, phase);
      if (await trainingSetIsWhole(store, input)) return;
      const samples = await readSamples(store.scenes(phase.scenes.key));
      const roles = new Roles({
        endpointFile: serviceFiles(store.phase(phase.key)).modelEndpoint,
        promptSet: study.prompt_set,
        imageRules: IMAGE_RULES[study.image_rules],
        perceiverMaxTokens: study.perceiver.max_response_length,
        reasonerMaxTokens: study.reasoner.max_response_length,
      });
      const known = new Map(
        (await readJsonLines(files.perceptions, Perception)).map(({ sample_id, text }) => [sample_id, text]),
      );
      const writer = new JsonLinesWriter(files.perceptions);
      const limit = pLimit(study.evaluation.concurrency);
      const abort = new AbortController();
      const work = Promise.all(
        samples.map((sample, index) =>
          limit(async (): Promise<TrainingRow> => {
            let text = known.get(sample.sample_id);
            if (text === undefined) {
              text = await pRetry(() => roles.perceive(sample), {
                retries: 1000,
                minTimeout: 200,
                maxTimeout: 3000,
                signal: abort.signal,
              });
              await writer.append({ sample_id: sample.sample_id, text });
            }
            const evidence = await roles.evidence(sample, text);
            const images = await Promise.all(
              evidence.images.map(async (image, place) => {
                const file = path.join(
                  files.images,
                  `${String(index).padStart(6, '0')}-${place === 0 ? 'annotated' : `crop-${place}`}.img`,
                );
                await writeFileAtomic(file, image);
                return file;
              }),
            );
            const { system, user } = renderRole(study.prompt_set, 'reasoner', sample, evidence.hasBoxes);
            return { sample_id: sample.sample_id, system, user, images };
          }),
        ),
      );
      try {
        await writeTrainingSet(files.training, await Promise.race([work, cancelled()]));
        await writeTrainingManifest(files);
      } finally {
        abort.abort();
        await work.catch(() => undefined);
      }
    },
  };
}

/** Writes the first `count` rows of a dataset directory, with absolute image paths. Fails (DatasetInvalid) when there are fewer. */
export async function takeRows(source: string, count: number, directory: string): Promise<void> {
  const invalid = (why: string) =>
    ApplicationFailure.nonRetryable(
      `The training data in ${source} cannot be used: ${why}. It must hold rows.jsonl and its images.`,
      'DatasetInvalid',
    );
  const samples = await readSamples(source).catch((error: Error) => {
    throw invalid(error.message);
  });
  if (samples.length < count) throw invalid(`it has ${samples.length} rows where the phase needs ${count}`);
  const lines = samples.slice(0, count).map((sample) => `${JSON.stringify(sample)}\n`);
  await writeFileAtomic(path.join(directory, 'rows.jsonl'), lines.join(''));
}

/** Why a phase's training set may not be used; null when it may, undefined when there is none yet. */
export async function trainingSetFault(store: Store, phaseKey: string): Promise<string | null | undefined> {
  const files = datasetFiles(store, phaseKey);
  if (!existsSync(files.training)) return undefined;
  const fault = await manifestFault(files.directory);
  if (fault !== undefined) return fault;
  await writeTrainingManifest(files);
  return null;
}

/** What a trainer reads; the log of what the perceiver said is no part of it. */
async function writeTrainingManifest(files: ReturnType<typeof datasetFiles>): Promise<void> {
  await writeManifest(files.directory, [path.basename(files.perceptions)]);
}

/** Whether the phase has its training set. A damaged one is set aside and told; what the perceiver said is kept. */
async function trainingSetIsWhole(store: Store, { experiment, phase }: PhaseInput): Promise<boolean> {
  const fault = await trainingSetFault(store, phase.key);
  if (fault === null) return true;
  if (fault === undefined) return false;
  const { directory, perceptions } = datasetFiles(store, phase.key);
  const aside = await setAside(directory).catch(() => null);
  if (aside !== null) {
    await mkdir(directory, { recursive: true });
    const said = path.join(path.dirname(directory), aside, path.basename(perceptions));
    if (existsSync(said)) await copyFile(said, perceptions);
  }
  await tellDamage(store, { experiment, part: phase.id }, phase.key, fault, aside);
  return false;
}

async function tellDamage(
  store: Store,
  user: User | undefined,
  key: string,
  message: string,
  aside: string | null,
): Promise<void> {
  if (user === undefined) return;
  const detail = { message, aside };
  await appendEvent(store, user.experiment, { type: 'dataset-damaged', phase: user.part, key, detail });
}

async function writeWholeImageSet(
  store: Store,
  input: PhaseInput,
  role: 'perceiver' | 'direct',
): Promise<void> {
  const { study, phase } = input;
  const files = datasetFiles(store, phase.key);
  using _beat = beating(() => ({ dataset: phase.key }));
  await writePhaseRecord(store, study, phase);
  if (await trainingSetIsWhole(store, input)) return;
  const rules = IMAGE_RULES[study.image_rules];
  const samples = await readSamples(store.scenes(phase.scenes.key));
  const limit = pLimit(2);
  const rows = await Promise.all(
    samples.map((sample, index) =>
      limit(async (): Promise<TrainingRow> => {
        const whole = await prepareWhole(await decodeImage(await readFile(sample.image), rules), rules);
        const image = path.join(files.images, `${String(index).padStart(6, '0')}-whole.img`);
        await writeFileAtomic(image, whole);
        const { system, user } = renderRole(study.prompt_set, role, sample, false);
        return { sample_id: sample.sample_id, system, user, images: [image] };
      }),
    ),
  );
  await writeTrainingSet(files.training, rows);
  await writeTrainingManifest(files);
}

/** phase.json: what this key stands for, for people and dashboards. */
async function writePhaseRecord(store: Store, study: Study, phase: PhasePlan): Promise<void> {
  await writeJson(store.phaseFile(phase.key), {
    key: phase.key,
    role: phase.role,
    iteration: phase.iteration,
    start: phase.start,
    frozen: phase.frozen,
    config: {
      study: study.name,
      seed: study.seed,
      engine: study.engine,
      serving: study.serving,
      hyperparameters: phase.hyperparameters,
      scenes: phase.scenes,
    },
  });
}
