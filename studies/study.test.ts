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
