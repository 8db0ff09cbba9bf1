import { expect, test } from 'vitest';
import type { Benchmark, Item } from './item.ts';
import { withShuffledOptions } from './shuffled.ts';

const ITEM: Item = {
  id: 'a',
  image: { key: 'i', read: async () => Buffer.alloc(0) },
  question: 'Which?\n(A) red\n(B) dark red\n(C) red kite\n(D) $&\nAnswer with a letter.',
  stem: 'Which?',
  options: ['red', 'dark red', 'red kite', '$&'],
  form: 'choice',
  answer: 'C',
  truth: null,
  category: [],
  cluster: 'i',
};
const benchmark = (items: Item[]): Benchmark => ({
  name: 'b',
  title: 'B',
  licence: 'none',
  published: items.length,
  files: [],
  async *items() {
    yield* items;
  },
});
const shuffledItems = async (items: Item[], seed: number) => {
  const found: Item[] = [];
  for await (const item of withShuffledOptions(benchmark(items), seed).items()) found.push(item);
  return found;
};

test('the right option keeps its text under its new letter, in options and question alike', async () => {
  const items = Array.from({ length: 40 }, (_, index) => ({ ...ITEM, id: `q${index}` }));
  const found = await shuffledItems(items, 1);
  for (const item of found) {
    expect(item.options['ABCD'.indexOf(item.answer)]).toBe('red kite');
    const lines = item.options.map((option, index) => `(${'ABCD'[index]}) ${option}`).join('\n');
    expect(item.question).toBe(`Which?\n${lines}\nAnswer with a letter.`);
  }
  // Not the same turn for all, and repeatable.
  expect(new Set(found.map(({ answer }) => answer)).size).toBe(4);
  expect(await shuffledItems(items, 1)).toEqual(found);
  expect(await shuffledItems(items, 2)).not.toEqual(found);
});

test('open questions stay as they are, and unknown layouts are refused by name', async () => {
  const open: Item = { ...ITEM, form: 'text', options: [], question: 'What?' };
  expect(await shuffledItems([open], 1)).toEqual([open]);
  await expect(shuffledItems([{ ...ITEM, question: 'Which? red, green' }], 1)).rejects.toThrow(
    /b, question a: option A does not stand/,
  );
});
