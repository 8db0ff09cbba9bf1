import { expect, test } from 'vitest';
import { loadStudyFile, studyNames } from '../index.ts';
import { planExperiment } from '../plan.ts';
import { experimentsOf } from '../sweep.ts';
import { CHECKS, OWN_CHECKS } from './checks.ts';

test('every table and figure has checks by which its twin is judged', async () => {
  const files = await Promise.all((await studyNames()).map(loadStudyFile));
  const twins = files.flatMap(({ reproduces }) => (reproduces === undefined ? [] : [reproduces.twin]));
  expect([...twins].sort()).toEqual(Object.keys(CHECKS).sort());
});

const all = {
  ...CHECKS,
  ...Object.fromEntries(Object.entries(OWN_CHECKS).map(([name, { checks }]) => [name, checks])),
};

test.each(Object.entries(all))('%s measures every figure that its checks name', async (name, checks) => {
  const { cases, sweep: _, ...base } = await loadStudyFile(name);
  const planned = Object.entries(cases ?? { '': {} }).flatMap(([label, overrides]) => {
    const [one] = experimentsOf({ ...base, ...(label !== '' && { cases: { [label]: overrides } }) });
    if (one === undefined) throw new Error(label);
    return planExperiment(one.study, one.experiment, 'base').evaluations.flatMap(
      ({ checkpoint, strategies }) => strategies.map((strategy) => `${label} ${checkpoint} ${strategy}`),
    );
  });
  expect(checks.length).toBeGreaterThan(0);
  for (const { says, contrast } of checks) {
    expect(contrast.length, says).toBeGreaterThan(1);
    // What a contrast says does not depend on where the figures lie, only on how they differ.
    expect(
      contrast.reduce((sum, { weight }) => sum + weight, 0),
      says,
    ).toBeCloseTo(0, 12);
    for (const { figure } of contrast)
      expect(planned, says).toContain(`${figure.case} ${figure.checkpoint} ${figure.strategy}`);
  }
});
