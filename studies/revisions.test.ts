import { expect, test } from 'vitest';
import type { ExperimentRecord } from '../store/experiments.ts';
import { loadStudy } from './index.ts';
import { OverridesInvalidError, parseAssignments, parseOverrides, withStudySettings } from './overrides.ts';
import { planExperiment } from './plan.ts';
import { fork, PhaseUnknownError, planOf, recordOf, revise, withStudy } from './revisions.ts';
import { parseStudy } from './study.ts';

async function record(): Promise<ExperimentRecord> {
  const study = await loadStudy('tiny-two-iterations');
  return recordOf(planExperiment(study, 'two', 'model-1'), {
    created_at: '2026-01-01T00:00:00.000Z',
    base_key: 'model-1',
    decisions: {},
    revisions: [],
    lineage: null,
  });
}

const ask = (request: string) => ({ kind: 'retry' as const, request, time: '2026-01-02T00:00:00.000Z' });
const keys = (value: ExperimentRecord) => value.phases.map((phase) => phase.key);

test('a record plans what it was made from', async () => {
  const before = await record();
  expect(recordOf(planOf(before), before)).toEqual(before);
});

test('other settings change the phase and what follows, and nothing before', async () => {
  const before = await record();
  const after = revise(before, 'iteration-1/reasoner', { overrides: { lr: 1e-5 } }, ask('a'));
  expect(keys(after)[0]).toBe(keys(before)[0]);
  for (const index of [1, 2, 3]) expect(keys(after)[index]).not.toBe(keys(before)[index]);
  expect(planOf(after).phases[1]?.hyperparameters.lr).toBe(1e-5);
  expect(planOf(after).phases[3]?.hyperparameters.lr).toBe(planOf(before).phases[3]?.hyperparameters.lr);
  expect(after.revisions).toMatchObject([{ phase: 'iteration-1/reasoner', key: keys(before)[1] }]);
});

test('other settings of the study leave decisions about phases as they are', async () => {
  const decided = revise(await record(), 'iteration-1/reasoner', { overrides: { lr: 1e-5 } }, ask('a'));
  const study = parseStudy(withStudySettings(decided.config, { 'perceiver.lr': 1e-6 }), 'two');
  const { phases } = planOf(withStudy(decided, study));
  expect(phases.map(({ hyperparameters }) => hyperparameters.lr)).toEqual([1e-6, 1e-5, 1e-6, 3e-5]);
  expect(withStudy(decided, planOf(decided).study)).toEqual(decided);
});

test('a request that comes twice counts once', async () => {
  const once = revise(await record(), 'iteration-1/reasoner', { again: true }, ask('a'));
  expect(revise(once, 'iteration-1/reasoner', { again: true }, ask('a'))).toBe(once);
  expect(revise(once, 'iteration-1/reasoner', { again: true }, ask('b'))).not.toBe(once);
});

test('trying again without changes keeps the key, so that checkpoints count', async () => {
  const before = await record();
  expect(keys(revise(before, 'iteration-2/perceiver', {}, ask('a')))).toEqual(keys(before));
});

test('a checkpoint to go on from is part of the key, and is dropped when the settings change again', async () => {
  const before = await record();
  const from = { phase: keys(before)[0] ?? '', step: 10 };
  const first = revise(before, 'iteration-1/perceiver', { overrides: { lr: 1e-5 }, from }, ask('a'));
  expect(planOf(first).phases[0]?.inherit).toEqual(from);
  expect(keys(first)[0]).not.toBe(
    keys(revise(before, 'iteration-1/perceiver', { overrides: { lr: 1e-5 } }, ask('a')))[0],
  );
  const second = revise(first, 'iteration-1/perceiver', { overrides: { lr: 2e-5 } }, ask('b'));
  expect(planOf(second).phases[0]?.inherit).toBeNull();
});

test('a skipped phase hands its start on, or the checkpoint that was chosen', async () => {
  const before = await record();
  const phases = planOf(revise(before, 'iteration-1/reasoner', { skip: 'start' }, ask('a'))).phases;
  expect(phases[1]?.skipped).toBe(true);
  expect(phases[2]?.start).toEqual(phases[0]?.result);
  const chosen = { phase: keys(before)[1] ?? '', step: 5 };
  const kept = planOf(revise(before, 'iteration-1/reasoner', { skip: chosen }, ask('a'))).phases;
  expect(kept[2]?.start).toMatchObject(chosen);
  expect(kept[2]?.start.key).not.toBe(chosen.phase);
  const whole = revise(before, 'iteration-1/reasoner', { skip: { ...chosen, step: 10 } }, ask('a'));
  expect(keys(whole)[2]).toBe(keys(before)[2]);
});

test('a fork shares what lies before it and names its parent', async () => {
  const before = await record();
  const child = fork(before, 'child', 'iteration-2/perceiver', { overrides: { lr: 1e-5 } }, 'now');
  expect(keys(child).slice(0, 2)).toEqual(keys(before).slice(0, 2));
  expect(keys(child)[2]).not.toBe(keys(before)[2]);
  expect(child).toMatchObject({
    experiment: 'child',
    lineage: { parent: 'two', at: 'iteration-2/perceiver' },
  });
});

test('wrong phases, keys and values are named', async () => {
  const before = await record();
  expect(() => revise(before, 'iteration-9/judge', {}, ask('a'))).toThrow(PhaseUnknownError);
  expect(() => revise(before, 'iteration-9/judge', {}, ask('a'))).toThrow(
    /"iteration-9\/judge".*iteration-1\/perceiver/,
  );
  expect(() => parseOverrides({ learning_rate: 1 })).toThrow(/learning_rate is not a hyper-parameter.*lr/);
  expect(() => parseOverrides({ lr: 'fast' })).toThrow(/lr: /);
  expect(() =>
    revise(before, 'iteration-1/perceiver', { overrides: { train_batch_size: 16 } }, ask('a')),
  ).toThrow(/iteration-1\/perceiver: ppo_mini_batch_size must equal train_batch_size \(16\)/);
  expect(() => parseAssignments(['lr'])).toThrow(OverridesInvalidError);
  expect(parseAssignments(['lr=5e-5', 'loss_agg_mode=token-mean'])).toEqual({
    lr: 5e-5,
    loss_agg_mode: 'token-mean',
  });
  const study = await loadStudy('tiny-smoke');
  expect(withStudySettings(study, { 'perceiver.lr': 1 })).toMatchObject({ perceiver: { lr: 1 } });
  expect(() => withStudySettings(study, { 'perceiver.lr.x': 1 })).toThrow(/no "lr" with settings/);
  expect(study.perceiver.lr).not.toBe(1);
});
