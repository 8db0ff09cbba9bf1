import { expect, test } from 'vitest';
import { loadStudy, studyNames } from './index.ts';
import { planExperiment } from './plan.ts';
import { parseStudy } from './study.ts';

test('every study of the folder is valid and named like its file', async () => {
  const names = await studyNames();
  expect(names).toEqual(expect.arrayContaining(['tiny-quickstart', 'tiny-smoke', 'tiny-two-iterations']));
  for (const name of names) expect((await loadStudy(name)).name).toBe(name);
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
