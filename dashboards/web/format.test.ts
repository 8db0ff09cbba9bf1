import { expect, test } from 'vitest';
import { age, bytes, duration, number, partName, percent, shortName } from './format.ts';

test.each([
  [0.4166, '0.42'],
  [12.345, '12.3'],
  [171.4, '171'],
  [3, '3'],
  [0, '0'],
  [0.000123, '0.00012'],
  [-0.25, '-0.25'],
  [null, '–'],
  [undefined, '–'],
])('number %s is %s', (value, text) => expect(number(value)).toBe(text));

test.each([
  [0.5208, '52.1 %'],
  [1, '100.0 %'],
  [null, '–'],
])('share %s is %s', (value, text) => expect(percent(value)).toBe(text));

test.each([
  [0.2, '0 s'],
  [59.4, '59 s'],
  [61, '1 min'],
  [3599, '1 h 00 min'],
  [7500, '2 h 05 min'],
  [273_600, '3 d 4 h'],
])('%s seconds are %s', (seconds, text) => expect(duration(seconds)).toBe(text));

test('ages', () => {
  const now = Date.parse('2026-01-01T12:00:00Z');
  expect(age('2026-01-01T11:59:58Z', now)).toBe('just now');
  expect(age('2026-01-01T11:57:00Z', now)).toBe('3 min ago');
  expect(age(null, now)).toBe('never');
  expect(age('yesterday', now)).toBe('at an unknown time');
});

test('parts are named for people', () => {
  expect(partName('iteration-2/reasoner')).toBe('iteration 2, reasoner');
  expect(partName('iteration-2-reasoner')).toBe('iteration 2, reasoner');
  expect(partName('base')).toBe('base');
});

test.each([
  [0, '0 B'],
  [999, '999 B'],
  [1500, '1.5 kB'],
  [65_000_000_000, '65.0 GB'],
])('%s bytes are %s', (count, text) => expect(bytes(count)).toBe(text));

test('checkpoints have short names for axes', () => {
  expect(shortName('iteration-2-reasoner')).toBe('R2');
  expect(shortName('iteration-1-perceiver-step-5')).toBe('P1 step 5');
  expect(shortName('base')).toBe('base');
});
