import { expect, test } from 'vitest';
import { estimateCost } from './cost.ts';
import { loadExperiments } from './index.ts';
import { planExperiment } from './plan.ts';
import type { Study } from './study.ts';

const first = async (name: string) => {
  const [planned] = await loadExperiments(name);
  if (planned === undefined) throw new Error(name);
  return planned.study;
};
const cost = (study: Study, reused?: (key: string) => boolean) =>
  estimateCost(planExperiment(study, 'e', 'm'), reused);

test('the quickstart is estimated at minutes without a GPU, as it was measured', async () => {
  const { hours, gpu_hours, disk_bytes } = cost(await first('tiny-quickstart'));
  expect(gpu_hours).toBe(0);
  expect(hours * 60).toBeGreaterThan(4);
  expect(hours * 60).toBeLessThan(20);
  expect(disk_bytes).toBeLessThan(2e9);
});

test('cost grows with steps, model size and iterations, and what is reused is free', async () => {
  const study = await first('figure-8-iterations');
  const one = cost({ ...study, iterations: 1 });
  expect(cost(study).gpu_hours).toBeGreaterThan(2.5 * one.gpu_hours);
  expect(cost({ ...study, model: 'models/Qwen3-VL-8B-Instruct' }).gpu_hours).toBeGreaterThan(
    1.5 * cost(study).gpu_hours,
  );
  const doubled = { ...study, perceiver: { ...study.perceiver, total_steps: 312 } };
  expect(cost(doubled).tokens).toBeGreaterThan(1.2 * cost(study).tokens);
  expect(cost(study, () => true)).toEqual({ hours: 0, gpu_hours: 0, disk_bytes: 0, tokens: 0 });
});

test('GPU hours are hours on all GPUs, and more of them shorten the wait for rewards', async () => {
  const study = await first('table-5-oracle');
  const trained = { ...study, iterations: 1 };
  const one = cost(trained);
  expect(one.gpu_hours).toBeGreaterThan(4 * one.hours);
  const served = { ...trained, serving: { ...trained.serving, gpus: [4, 5, 6, 7] } as Study['serving'] };
  expect(cost(served).hours).toBeLessThan(0.8 * one.hours);
});
