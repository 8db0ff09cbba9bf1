/** Several benchmarks asked as one. */
import type { Benchmark, Item } from './item.ts';

/** The items of all, in order; ids and clusters are told apart by the benchmark's name, and its title is the coarsest category. */
export function joinBenchmarks(parts: readonly [Benchmark, ...Benchmark[]]): Benchmark {
  const published = parts.map((part) => part.published);
  return {
    name: parts.map(({ name }) => name).join('+'),
    title: parts.map(({ title }) => title).join(', '),
    licence: [...new Set(parts.map(({ licence }) => licence))].join('; '),
    published: published.includes(null)
      ? null
      : published.reduce<number>((sum, count) => sum + (count ?? 0), 0),
    files: parts.flatMap(({ files }) => files),
    async *items(): AsyncIterable<Item> {
      for (const { name, title, items } of parts)
        for await (const item of items())
          yield {
            ...item,
            id: `${name}/${item.id}`,
            image: { ...item.image, key: `${name}/${item.image.key}` },
            cluster: `${name}/${item.cluster}`,
            category: [title, ...item.category],
          };
    },
  };
}
