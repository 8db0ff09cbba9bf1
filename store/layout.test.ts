import path from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { openStore } from './layout.ts';

const store = openStore('some-home');

test('no id leaves the home', () => {
  for (const id of ['..', '../x', 'a/b', '', '.hidden', 'a\\b', 'a\0b']) {
    expect(() => store.run(id)).toThrow(/not a valid experiment/);
    expect(() => store.phase(id)).toThrow(/not a valid phase key/);
  }
  fc.assert(
    fc.property(fc.string(), (id) => {
      let directory: string;
      try {
        directory = store.run(id);
      } catch {
        return;
      }
      expect(path.dirname(directory)).toBe(path.join(store.home, 'runs'));
    }),
  );
});

test('checkpoint directories sort by step', () => {
  expect(path.basename(store.checkpoint('k', 12))).toBe('step-000012');
});
