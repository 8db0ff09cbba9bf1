import { describe, expect, it } from 'vitest';
import recorded from './fixtures/trl-steps.json' with { type: 'json' };
import { clippedSurrogate, groupAdvantages, grpoObjective, importanceRatio, lowVarianceKl } from './grpo.ts';

describe('group advantages (eq. 4), by hand', () => {
  it('rewards 1 0 0 0: mean 1/4, sample deviation 1/2', () => {
    const wanted = [0.75, -0.25, -0.25, -0.25].map((d) => d / 0.5001);
    for (const [index, advantage] of groupAdvantages([1, 0, 0, 0]).entries()) {
      expect(advantage).toBeCloseTo(wanted[index] ?? Number.NaN, 12);
    }
  });

  it('population deviation is sqrt(3)/4', () => {
    const [first] = groupAdvantages([1, 0, 0, 0], { deviation: 'population', epsilon: 0 });
    expect(first).toBeCloseTo(0.75 / (Math.sqrt(3) / 4), 12);
  });

  it('leaves unscored rollouts out', () => {
    const advantages = groupAdvantages([1, null, 0], { epsilon: 0 });
    expect(advantages[0]).toBeCloseTo(Math.SQRT1_2, 12);
    expect(advantages[1]).toBe(0);
    expect(advantages[2]).toBeCloseTo(-Math.SQRT1_2, 12);
  });

  it('is 0 where all are equal, or there is nothing to compare', () => {
    expect(groupAdvantages([1, 1, 1])).toEqual([0, 0, 0]);
    expect(groupAdvantages([1, null])).toEqual([0, 0]);
    expect(groupAdvantages([null, null])).toEqual([0, 0]);
  });
});

describe('objective (eq. 5 and 6), by hand', () => {
  it('ratio and clipping', () => {
    expect(importanceRatio(Math.log(0.3), Math.log(0.2))).toBeCloseTo(1.5, 12);
    expect(clippedSurrogate(1.5, 2)).toBeCloseTo(2.4, 12);
    expect(clippedSurrogate(1.5, -2)).toBeCloseTo(-3, 12);
    expect(clippedSurrogate(0.5, 2)).toBeCloseTo(1, 12);
    expect(clippedSurrogate(0.5, -2)).toBeCloseTo(-1.6, 12);
  });

  it('low-variance KL: d = ln 2 gives 2 - ln 2 - 1', () => {
    expect(lowVarianceKl(Math.log(0.25), Math.log(0.5))).toBeCloseTo(1 - Math.log(2), 12);
    expect(lowVarianceKl(-1, -1)).toBe(0);
  });

  const long = { policy: [0, 0, 0], old: [0, 0, 0], reference: [0, 0, 0], advantage: -1 };
  const short = { policy: [Math.log(0.9)], old: [Math.log(0.6)], reference: [Math.log(0.9)], advantage: 1 };

  it('averages over each rollout and then over rollouts, or over tokens', () => {
    // Ratios 1, 1, 1 with A = -1, and 1.5 clipped to 1.2 with A = 1.
    expect(grpoObjective([long, short]).objective).toBeCloseTo((-1 + 1.2) / 2, 12);
    expect(grpoObjective([long, short], { average: 'token' }).objective).toBeCloseTo((-3 + 1.2) / 4, 12);
    expect(grpoObjective([long, short])).toMatchObject({ clip_low: 0, clip_high: 0.25, clip_fraction: 0.25 });
  });

  it('subtracts beta times the KL', () => {
    const moved = { ...long, reference: [Math.log(2), 0, 0] };
    const { objective, surrogate, kl } = grpoObjective([moved], { beta: 0.01 });
    expect(kl).toBeCloseTo((1 - Math.log(2)) / 3, 12);
    expect(objective).toBeCloseTo(surrogate - 0.01 * kl, 15);
  });

  it('refuses lists of different lengths', () => {
    expect(() => grpoObjective([{ policy: [0], old: [], advantage: 1 }])).toThrow(RangeError);
    expect(() => grpoObjective([{ policy: [0], old: [0], advantage: 1 }], { beta: 0.1 })).toThrow(RangeError);
  });
});

describe.each(recorded.runs)(
  `the figures of a real TRL ${recorded.trl} trainer, loss $loss_type, weighted KL $weighted_kl`,
  (run) => {
    it('group advantages, one reward missing', () => {
      const advantages = run.rewards.flatMap((group) => groupAdvantages(group)).sort((a, b) => a - b);
      for (const step of run.steps) {
        const logged = step.rollouts.map(({ advantage }) => advantage).sort((a, b) => a - b);
        expect(advantages).toEqual(logged.map((value) => expect.closeTo(value, 6)));
      }
    });

    it.each([0, 1])('loss, KL and clipping of step %i', (index) => {
      const step = run.steps[index];
      if (step === undefined) throw new Error(`The record has no step ${index}.`);
      const average = run.loss_type === 'dapo' ? 'token' : 'sequence';
      const { beta, weighted_kl: weightKlByRatio } = run;
      const { objective } = grpoObjective(step.rollouts, { beta, average, weightKlByRatio });
      expect(-objective).toBeCloseTo(step.loss, 5);
      // Whatever the loss, the trainer logs the KL averaged over tokens.
      const logged = grpoObjective(step.rollouts, { beta, average: 'token', weightKlByRatio });
      expect(logged.kl).toBeCloseTo(step.logged.kl, 5);
      expect(logged.clip_low).toBeCloseTo(step.logged['clip_ratio/low_mean'], 6);
      expect(logged.clip_high).toBeCloseTo(step.logged['clip_ratio/high_mean'], 6);
      expect(logged.clip_fraction).toBeCloseTo(step.logged['clip_ratio/region_mean'], 6);
    });

    it('the second step has moved away from the policy that sampled', () => {
      expect(run.steps[1]?.logged.kl).toBeGreaterThan(0.01);
      expect(run.steps[1]?.logged['clip_ratio/region_mean']).toBeGreaterThan(0.1);
    });
  },
);
