import { expect, test } from 'vitest';
import type { Benchmark, Item } from './item.ts';
import { joinBenchmarks } from './joined.ts';

const item = (id: string): Item => ({
  id,
  image: { key: 'one.jpg', read: async () => Buffer.from(id) },
  question: 'Which?',
  stem: 'Which?',
  options: ['a', 'b'],
  form: 'choice',
  answer: 'A',
  truth: null,
  category: ['letter'],
  cluster: 'one.jpg',
});
const benchmark = (name: string, published: number | null, ids: string[]): Benchmark => ({
  name,
  title: name.toUpperCase(),
  licence: 'L',
  published,
  files: [`${name}.json`],
  async *items() {
    yield* ids.map(item);
  },
});

test('questions of joined benchmarks are told apart, and keep their order and images', async () => {
  const joined = joinBenchmarks([benchmark('v', 2, ['1', '2']), benchmark('h', 1, ['1'])]);
  const items: Item[] = [];
  for await (const one of joined.items()) items.push(one);
  expect(items.map(({ id, cluster, category }) => [id, cluster, category.join('/')])).toEqual([
    ['v/1', 'v/one.jpg', 'V/letter'],
    ['v/2', 'v/one.jpg', 'V/letter'],
    ['h/1', 'h/one.jpg', 'H/letter'],
  ]);
  expect(items.map(({ image }) => image.key)).toEqual(['v/one.jpg', 'v/one.jpg', 'h/one.jpg']);
  expect((await items[2]?.image.read())?.toString()).toBe('1');
  expect(joined).toMatchObject({
    name: 'v+h',
    title: 'V, H',
    licence: 'L',
    published: 3,
    files: ['v.json', 'h.json'],
  });
  expect(joinBenchmarks([benchmark('v', 2, []), benchmark('z', null, [])]).published).toBeNull();
});
