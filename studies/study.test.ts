import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { expect, test } from 'vitest';
import { loadExperiments, loadStudy, studyNames } from './index.ts';
import { planExperiment } from './plan.ts';
import { defineStudy, parseStudy, parseStudyFile, QuestionKind, StudyInvalidError } from './study.ts';
import { experimentsOf } from './sweep.ts';
import quickstart from './tiny-quickstart.ts';

test('every study of the folder is valid and named like its file', async () => {
  const names = await studyNames();
  expect(names).toEqual(expect.arrayContaining(['tiny-quickstart', 'tiny-smoke', 'tiny-two-iterations']));
  for (const name of names) {
    expect((await loadStudy(name)).name).toBe(name);
    const experiments = await loadExperiments(name);
    expect(new Set(experiments.map(({ experiment }) => experiment)).size).toBe(experiments.length);
    for (const { experiment, study } of experiments) {
      const plan = planExperiment(study, experiment, 'model-1');
      expect(plan.evaluations.length).toBeGreaterThan(0);
      expect(new Set(plan.evaluations.map(({ id }) => id)).size).toBe(plan.evaluations.length);
    }
  }
});

test('a wrong key is named, and so is a wrong value', async () => {
  const study = await loadStudy('tiny-smoke');
  const wrong =
    (change: (copy: { perceiver: Record<string, unknown> } & Record<string, unknown>) => void) => () => {
      const copy = structuredClone(study) as unknown as { perceiver: Record<string, unknown> } & Record<
        string,
        unknown
      >;
      change(copy);
      parseStudy(copy, 'mine.ts');
    };
  expect(wrong((copy) => Object.assign(copy.perceiver, { learning_rate: 1 }))).toThrow(
    /mine\.ts .*perceiver\.learning_rate is not a key/,
  );
  expect(wrong((copy) => Object.assign(copy.perceiver, { lr: -1 }))).toThrow(/perceiver\.lr: /);
  expect(wrong((copy) => Object.assign(copy, { image_rules: 'huge' }))).toThrow(
    /image_rules: .*"paper"\|"tiny"/,
  );
  expect(wrong((copy) => Object.assign(copy.perceiver, { ppo_micro_batch_size: 3 }))).toThrow(
    /perceiver\.ppo_micro_batch_size must divide/,
  );
  await expect(loadStudy('no-such')).rejects.toThrow(
    /There is no study "no-such"\. Known studies: .*tiny-smoke/,
  );
});

test('each role trains from, and against, the checkpoint before it', async () => {
  const study = await loadStudy('tiny-two-iterations');
  const { phases, evaluations } = planExperiment(study, 'e', 'model-1');
  expect(phases.map((phase) => phase.id)).toEqual([
    'iteration-1/perceiver',
    'iteration-1/reasoner',
    'iteration-2/perceiver',
    'iteration-2/reasoner',
  ]);
  phases.slice(1).forEach((phase, index) => {
    expect(phase.start.key).toBe(phases[index]?.key);
    expect(phase.frozen.key).toBe(phases[index]?.key);
  });
  expect(new Set(phases.map((phase) => phase.scenes.key)).size).toBe(4);
  expect(evaluations.map((evaluation) => evaluation.after)).toEqual([
    null,
    ...phases.map((phase) => phase.id),
  ]);
});

test('the schedule decides which roles train, in which order, and P and R see the same scenes in either', async () => {
  const study = await loadStudy('tiny-quickstart');
  const phases = (schedule: typeof study.schedule) =>
    planExperiment(parseStudy({ ...study, schedule }, 's'), 'e', 'm').phases;
  expect(phases(['reasoner']).map(({ id }) => id)).toEqual(['iteration-1/reasoner']);
  const [reasoner, perceiver] = phases(['reasoner', 'perceiver']);
  const [first, second] = phases(['perceiver', 'reasoner']);
  expect([perceiver?.scenes, reasoner?.scenes]).toEqual([first?.scenes, second?.scenes]);
  expect(perceiver?.start.key).toBe(reasoner?.key);
  expect(() => phases(['direct'])).toThrow(/direct is missing: schedule names this role/);
  expect(() => phases(['perceiver', 'perceiver'])).toThrow(/schedule: a role may train once an iteration/);
});

test('DAPO has its own key and a reserve of scenes; GRPO keeps the keys it had', async () => {
  const study = await loadStudy('tiny-quickstart');
  const dapo = {
    name: 'dapo',
    clip_ratio_high: 0.28,
    max_generation_batches: 3,
    overlong_buffer: 20,
    overlong_penalty: 1,
  } as const;
  const [grpo] = planExperiment(study, 'e', 'm').phases;
  const [other] = planExperiment(parseStudy({ ...study, algorithm: dapo }, 's'), 'e', 'm').phases;
  expect(other?.key).not.toBe(grpo?.key);
  expect(other?.scenes.count).toBe(3 * (grpo?.scenes.count ?? 0));
  const { algorithm: _, ...older } = study;
  expect(planExperiment(parseStudy(older, 's'), 'e', 'm').phases[0]?.key).toBe(grpo?.key);
  expect(() => parseStudy({ ...study, algorithm: { name: 'ppo' } }, 's')).toThrow(/algorithm\.name.*grpo/);
  expect(() => parseStudy({ ...study, algorithm: { ...dapo, gamma: 1 } }, 's')).toThrow(
    /algorithm\.gamma is not a key of a study/,
  );
});

test('a key changes with what decides the result, and with nothing else', async () => {
  const study = await loadStudy('tiny-quickstart');
  const keys = (value: typeof study, base = 'model-1') =>
    planExperiment(value, 'e', base).phases.map((phase) => phase.key);
  const before = keys(study);
  expect(keys({ ...study, title: 'other', name: 'other' })).toEqual(before);
  expect(keys({ ...study, serving: { kind: 'transformers' } })).toEqual(before);
  expect(keys({ ...study, iterations: 2 }).slice(0, 2)).toEqual(before);
  const [perceiver, reasoner] = keys({ ...study, reasoner: { ...study.reasoner, lr: 2e-4 } });
  expect(perceiver).toBe(before[0]);
  expect(reasoner).not.toBe(before[1]);
  for (const changed of [
    keys({ ...study, seed: 9 }),
    keys(study, 'model-2'),
    keys({ ...study, prompt_set: 'qwen' }),
  ]) {
    expect(changed[0]).not.toBe(before[0]);
    expect(changed[1]).not.toBe(before[1]);
  }
});

test('the full-scale studies have the values of Table 6', async () => {
  for (const name of (await studyNames()).filter((name) => !name.startsWith('tiny-'))) {
    const study = await loadStudy(name);
    const table6 = {
      train_batch_size: 64,
      ppo_mini_batch_size: 64,
      ppo_micro_batch_size: 8,
      rollout_n: 8,
      lr: 1e-6,
      kl_loss_coef: 0.01,
      kl_loss_type: 'low_var_kl',
      entropy_coeff: 0,
      total_steps: 156,
    };
    expect(study.perceiver).toMatchObject({ ...table6, max_prompt_length: 2560, max_response_length: 1024 });
    expect(study.reasoner).toMatchObject({ ...table6, max_prompt_length: 8704, max_response_length: 2048 });
    expect(study.image_rules).toBe('paper');
    expect(study.evaluation.image_rules).toBe('paper-evaluation');
    expect(study.engine).toMatchObject({ name: 'verl', nodes: 1, gpus_per_node: 4 });
  }
});

test('twins share what they can: the ablation, the matrix and the quickstart train the same perceiver', async () => {
  const phaseKeys = async (name: string) =>
    (await loadExperiments(name)).flatMap(({ experiment, study }) =>
      planExperiment(study, experiment, 'm').phases.map(({ key }) => key),
    );
  const quick = await phaseKeys('tiny-quickstart');
  for (const name of ['tiny-figure-4-inference', 'tiny-figure-6-dynamics', 'tiny-figure-12-boxes'])
    expect(await phaseKeys(name)).toEqual(quick);
  const ablation = new Set(await phaseKeys('tiny-figure-5-ablation'));
  for (const key of await phaseKeys('tiny-table-3-cross-checkpoints')) expect(ablation.has(key)).toBe(true);
  expect(await phaseKeys('tiny-table-5-oracle')).toEqual([]);
});

test('every saved checkpoint is evaluated when a study asks for it', async () => {
  const { phases, evaluations } = planExperiment(await loadStudy('tiny-figure-6-dynamics'), 'e', 'm');
  expect(evaluations.map(({ model }) => model.name)).toEqual([
    'base',
    ...[10, 20].map((step) => `iteration-1-perceiver-step-${step}`),
    'iteration-1-perceiver',
    'iteration-1-reasoner-step-5',
    'iteration-1-reasoner',
  ]);
  expect(new Set(evaluations.map(({ key }) => key)).size).toBe(evaluations.length);
  expect(phases[1]?.start).toEqual(evaluations[3]?.model);
});

test('a sweep is every combination of its values, each named and valid', () => {
  const file = defineStudy({
    ...quickstart,
    name: 'mine',
    cases: { plain: {}, 'more-kl': { 'perceiver.kl_loss_coef': 0.05 } },
    sweep: { seed: [1, 2], 'perceiver.lr': [1e-5, 2e-5] },
  });
  const experiments = experimentsOf(file);
  expect(experiments.map(({ experiment }) => experiment)).toEqual([
    'mine-plain-seed1-lr0.00001',
    'mine-plain-seed1-lr0.00002',
    'mine-plain-seed2-lr0.00001',
    'mine-plain-seed2-lr0.00002',
    'mine-more-kl-seed1-lr0.00001',
    'mine-more-kl-seed1-lr0.00002',
    'mine-more-kl-seed2-lr0.00001',
    'mine-more-kl-seed2-lr0.00002',
  ]);
  expect(experiments[6]?.study).toMatchObject({ seed: 2, perceiver: { lr: 1e-5, kl_loss_coef: 0.05 } });
  expect(quickstart.perceiver.kl_loss_coef).toBe(0.01);
});

test('a wrong swept key or value is named, and so are the keys that are allowed', () => {
  const expand = (sweep: Record<string, [number]>) => () =>
    experimentsOf(defineStudy({ ...quickstart, name: 'mine', sweep }));
  expect(expand({ 'perceiver.learning_rate': [1] })).toThrow(
    /"mine" .*perceiver\.learning_rate is not a key of a study \(allowed here: train_batch_size, .*lr,/,
  );
  expect(expand({ 'actor.lr': [1] })).toThrow(/actor\.lr: there is no "actor" in this study/);
  expect(expand({ 'perceiver.lr': [-1] })).toThrow(/perceiver\.lr: /);
  expect(expand({ '__proto__.lr': [1] })).toThrow(/there is no "__proto__"/);
});

test('a file that is no TypeScript, or imports what is not there, is refused in one sentence', async () => {
  const directory = mkdtempSync(path.join(os.tmpdir(), 'p2r-study-'));
  const write = (name: string, text: string) => {
    const file = path.join(directory, name);
    writeFileSync(file, text);
    return file;
  };
  await expect(loadStudy(write('half.ts', 'export default {'))).rejects.toThrow(StudyInvalidError);
  await expect(loadStudy(write('import.ts', "import './gone.ts';"))).rejects.toThrow(
    /import\.ts is not a valid study: it cannot be loaded: .*gone/,
  );
});

test('what a cluster would refuse after minutes of loading is refused at once', async () => {
  const study = await loadStudy('figure-4-inference');
  const wrong =
    (engine: object, serving: object = {}, algorithm: object = {}) =>
    () =>
      parseStudy(
        {
          ...study,
          engine: { ...study.engine, ...engine },
          serving: { ...study.serving, ...serving },
          ...algorithm,
        },
        's',
      );
  expect(wrong({})).not.toThrow();
  expect(wrong({ gpus_per_node: 3 })).toThrow(/perceiver\.train_batch_size times rollout_n \(512\).* 3 GPUs/);
  expect(wrong({ tensor_parallel: 3 })).toThrow(/engine\.tensor_parallel must divide/);
  expect(wrong({}, { gpus: [4, 4] })).toThrow(/serving\.gpus names a GPU twice/);
  expect(wrong({}, { gpus: [4, 5, 6], tensor_parallel: 2 })).toThrow(/multiple of serving\.tensor_parallel/);
  const dapo = experimentsOf((await import('./e4-dapo.ts')).default)[1]?.study.algorithm;
  expect(wrong({ version: '0.8' }, {}, { algorithm: dapo })).toThrow(/"dapo" needs engine\.version "0\.9"/);
});

test('a role may be played, or trained against, by the checkpoint of another step', () => {
  const {
    cases: _cases,
    sweep: _sweep,
    ...base
  } = defineStudy({ ...quickstart, name: 'mine', iterations: 2 });
  const plan = (change: object) => planExperiment(parseStudy({ ...base, ...change }, 'mine'), 'e', 'model-1');
  const pairs = (...names: unknown[][]) => ({
    evaluation: {
      ...quickstart.evaluation,
      pairs: names.map(([perceiver, reasoner]) => ({ perceiver, reasoner })),
    },
  });
  const plain = plan({});
  const { phases, evaluations } = plan(
    pairs(
      ['iteration-1/perceiver@10', 'base'],
      ['iteration-2/reasoner', 'iteration-2/reasoner'],
      ['base', { schedule: ['reasoner'], checkpoint: 'iteration-1/reasoner' }],
    ),
  );
  expect(phases).toEqual(plain.phases);
  const [mixed, same, other, own] = evaluations.slice(-4);
  expect(mixed).toMatchObject({
    id: 'evaluation/iteration-1-perceiver-step-10-for-base',
    checkpoint: 'iteration-1-perceiver-step-10 for base',
    after: 'iteration-2/reasoner',
    perceiver: { phase: phases[0]?.key, step: 10 },
    model: { kind: 'directory' },
    strategies: ['p2r'],
  });
  // The same checkpoint in both roles is the ordinary evaluation, under its key.
  expect(same?.key).toBe(own?.key);
  const alone = plan({ schedule: ['reasoner'] });
  expect(other?.model.key).toBe(alone.phases[0]?.key);

  const against = plan({ frozen: { perceiver: 'base', reasoner: 'iteration-1/perceiver@10' } });
  expect(against.phases.map(({ frozen }) => frozen.name)).toEqual([
    'base',
    'iteration-1-perceiver-step-10',
    'base',
    'iteration-1-perceiver-step-10',
  ]);
  expect(against.phases[0]?.key).toBe(plain.phases[0]?.key);
  expect(against.phases[2]?.start.key).toBe(against.phases[1]?.key);

  expect(() => plan(pairs(['base', 'iteration-3/reasoner']))).toThrow(
    /evaluation\.pairs\.0\.reasoner: there is no phase "iteration-3\/reasoner" before it; there are base, iteration-1\/perceiver/,
  );
  expect(() => plan(pairs(['iteration-1/perceiver@7', 'base']))).toThrow(
    /saves every 10 of its 30 steps, not step 7/,
  );
  expect(() => plan({ frozen: { perceiver: 'iteration-1/reasoner' } })).toThrow(
    /frozen\.perceiver: there is no phase/,
  );
  expect(() => plan(pairs(['p-only', 'base']))).toThrow(/evaluation\.pairs\.0\.perceiver: write "base", /);
});

test('a study may ask published benchmarks instead of scenes; their names are part of the key, their place is not', async () => {
  const study = await loadStudy('tiny-table-5-oracle');
  const [scenes] = planExperiment(study, 'e', 'm').evaluations;
  const keyOf = (benchmarks: { name: string; source: string }[]) =>
    planExperiment(
      parseStudy({ ...study, evaluation: { ...study.evaluation, benchmarks } }, 'mine'),
      'e',
      'm',
    ).evaluations[0]?.key;
  const vStar = { name: 'V-Star', source: 'v-star:datasets/v-star' };
  expect(keyOf([vStar])).not.toBe(scenes?.key);
  expect(keyOf([{ ...vStar, source: 'v-star:/elsewhere' }])).toBe(keyOf([vStar]));
  expect(keyOf([{ ...vStar, name: 'V-Star 2' }])).not.toBe(keyOf([vStar]));
  expect(() => keyOf([{ ...vStar, source: 'datasets/v-star' }])).toThrow(
    'evaluation.benchmarks.0.source: write FORMAT:PATH',
  );
  for (const name of (await studyNames()).filter((known) => !known.startsWith('tiny-'))) {
    const { evaluation, reproduces } = await loadStudy(name);
    for (const benchmark of reproduces?.benchmarks ?? [])
      expect(
        evaluation.benchmarks?.some((one) => one.name.startsWith(benchmark)),
        name,
      ).toBe(true);
  }
});

test('a case is called by lower-case letters, and the message says so', async () => {
  const study = await loadStudy('tiny-quickstart');
  expect(() => parseStudyFile({ ...study, cases: { 'P only': {} } }, 'mine')).toThrow(
    'mine is not a valid study: cases.P only: call a case by lower-case letters, digits and "-".',
  );
});

test('the kinds of questions are those that the generator draws, in its order', () => {
  const source = readFileSync(
    path.join(import.meta.dirname, '../engines/p2r_engines/needle_scenes/question.py'),
    'utf8',
  );
  const kinds = /^KINDS = \[(.*)\]$/m
    .exec(source)?.[1]
    ?.split(', ')
    .map((kind) => kind.slice(1, -1));
  expect(kinds).toEqual([...QuestionKind.options]);
});
