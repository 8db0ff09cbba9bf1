import { expect, test } from 'vitest';
import { shouldStopEarly, unmetRules } from './acceptance.ts';
import { AcceptanceRule } from './study.ts';

const rule = (value: object) => AcceptanceRule.parse({ role: 'perceiver', window: 2, ...value });
const rows = [0.2, 0.4, 0.5, 0.7].map((reward_mean, index) => ({
  step: index + 1,
  reward_mean,
  box_count: 4 - index,
  hit_rate: null,
}));

test('bounds hold for the mean of the last window', () => {
  expect(unmetRules([rule({ metric: 'reward_mean', at_least: 0.6 })], rows)).toEqual([]);
  expect(unmetRules([rule({ metric: 'reward_mean', at_least: 0.61 })], rows)).toEqual([
    'reward_mean is 0.6 over the last 2 steps, below 0.61',
  ]);
  expect(unmetRules([rule({ metric: 'reward_mean', at_most: 0.5 })], rows)).toHaveLength(1);
});

test('a collapse is measured against the start', () => {
  // (4 + 3) / 2 = 3.5 boxes at the start, (2 + 1) / 2 = 1.5 at the end: .43 times.
  expect(unmetRules([rule({ metric: 'box_count', at_least_times_start: 0.4 })], rows)).toEqual([]);
  expect(unmetRules([rule({ metric: 'box_count', at_least_times_start: 0.5 })], rows)).toEqual([
    'box_count is 1.5 over the last 2 steps, below 0.5 times its start (3.5)',
  ]);
});

test('what was not logged is not accepted', () => {
  expect(unmetRules([rule({ metric: 'hit_rate', at_least: 0 })], rows)).toEqual(['hit_rate was not logged']);
  expect(unmetRules([rule({ metric: 'reward_mean', at_least: 0 })], [])).toEqual(['no step was logged']);
  expect(unmetRules([], [])).toEqual([]);
});

test('an experiment ends early when its best lies too far back', () => {
  const early = { patience: 2, min_gain: 0.01 };
  expect(shouldStopEarly([0.5, 0.6], early)).toBe(false);
  expect(shouldStopEarly([0.5, 0.6, 0.6], early)).toBe(false);
  expect(shouldStopEarly([0.5, 0.6, 0.6, 0.605], early)).toBe(true);
  expect(shouldStopEarly([0.5, 0.6, 0.6, 0.62], early)).toBe(false);
});
