import { expect, it } from 'vitest';
import { canonicalJson, fingerprint } from './content-key.ts';

it('is the published FNV-1a of the canonical JSON', () => {
  // FNV-1a 64 of the byte "1" by hand: (offset ^ 0x31) * prime mod 2^64.
  expect(fingerprint(1)).toBe('af63ac4c86019afc');
  expect(canonicalJson({ b: [1, { y: null, x: 'ü' }], a: undefined })).toBe('{"b":[1,{"x":"ü","y":null}]}');
});

it('does not depend on the order of keys, and does on every value', () => {
  expect(fingerprint({ a: 1, b: 2 })).toBe(fingerprint({ b: 2, a: 1 }));
  expect(fingerprint({ a: 1, b: 2 })).not.toBe(fingerprint({ a: 1, b: 3 }));
  expect(fingerprint(['ab'])).not.toBe(fingerprint(['a', 'b']));
});
