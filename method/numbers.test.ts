import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { numbersAgree, parseNumber } from './numbers.ts';

describe('parseNumber', () => {
  it.each([
    ['42', 42, ''],
    ['-3.5', -3.5, ''],
    ['−7', -7, ''],
    ['+.5', 0.5, ''],
    ['1,234,567.8', 1234567.8, ''],
    ['1e3', 1000, ''],
    ['3/4', 0.75, ''],
    ['1 1/2', 1.5, ''],
    ['½', 0.5, ''],
    ['\\frac{1}{8}', 0.125, ''],
    ['$12.50', 12.5, ''],
    ['-$3', -3, ''],
    ['50%', 50, '%'],
    ['50 percent', 50, '%'],
    ['12 km', 12, 'km'],
    ['5 Meters', 5, 'm'],
    ['6 feet', 6, 'ft'],
    ['seven', 7, ''],
    ['**7**.', 7, ''],
  ])('%s', (text, value, unit) => {
    expect(parseNumber(text)).toEqual({ value: expect.closeTo(value, 12), unit });
  });

  it.each(['', 'cat', '1 2', '12,34', '1/0', '3 or 4', '0x10', 'Infinity', '--3', '1.2.3'])(
    '%j is no number',
    (text) => {
      expect(parseNumber(text)).toBeNull();
    },
  );

  it('reads back what it is given, and never throws', () => {
    fc.assert(
      fc.property(fc.double({ noNaN: true, noDefaultInfinity: true, min: -1e15, max: 1e15 }), (value) => {
        expect(parseNumber(String(value))?.value).toBeCloseTo(value, 6);
      }),
    );
    fc.assert(fc.property(fc.string(), (text) => void parseNumber(text)));
  });
});

describe('numbersAgree', () => {
  it('converts units of one kind, and takes a missing unit as meant', () => {
    expect(numbersAgree('90 min', '1.5 h')).toBe(true);
    expect(numbersAgree('30 cm', '0.3 m')).toBe(true);
    expect(numbersAgree('12', '12 km')).toBe(true);
    expect(numbersAgree('12 kg', '12 km')).toBe(false);
    expect(numbersAgree('12 bananas', '12 apples')).toBe(false);
  });

  it('keeps to the tolerances', () => {
    expect(numbersAgree('0.333333333', '1/3')).toBe(true);
    expect(numbersAgree('0.33', '1/3')).toBe(false);
    expect(numbersAgree('95', '100', { relative: 0.05, absolute: 0 })).toBe(true);
    expect(numbersAgree('94.9', '100', { relative: 0.05, absolute: 0 })).toBe(false);
    expect(numbersAgree('0.5', '0', { relative: 0.05, absolute: 0.5 })).toBe(true);
  });
});
