import fc from 'fast-check';
import { expect, test } from 'vitest';
import { canonicalJson, contentKey } from './keys.ts';

test('the order of fields does not matter, their values do', () => {
  expect(contentKey('p', { a: 1, b: { c: [1, 2], d: undefined } })).toBe(
    contentKey('p', { b: { c: [1, 2] }, a: 1 }),
  );
  expect(contentKey('p', { a: 1 })).not.toBe(contentKey('p', { a: 2 }));
  expect(contentKey('p', [1, 2])).not.toBe(contentKey('p', [2, 1]));
  expect(contentKey('phase', {})).toMatch(/^phase-[0-9a-f]{24}$/);
});

test('what JSON cannot hold is refused', () => {
  expect(() => canonicalJson({ lr: Number.NaN })).toThrow(/NaN/);
  expect(() => canonicalJson(() => 1)).toThrow(/function/);
});

test('canonical JSON reads back as the same value', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      expect(JSON.parse(canonicalJson(value))).toEqual(JSON.parse(JSON.stringify(value)));
    }),
  );
});
