/** From a name and a path to a benchmark that can be read. */
import { stat } from 'node:fs/promises';
import path from 'node:path';
import { type Benchmark, BenchmarkError, type Item } from './item.ts';
import { needleBenchmark } from './needle.ts';

type Opener = { name: string; what: string; open: (file: string) => Promise<Benchmark> | Benchmark };

/** Every format, by the name given before the colon: `v-star:FILE`. */
export const FORMATS: readonly Opener[] = [
  { name: 'needle', what: 'a directory of needle scenes', open: needleBenchmark },
];

/**
 * Opens `FORMAT:PATH`.
 * @throws BenchmarkError when the format is unknown or nothing is at the path
 */
export async function openBenchmark(reference: string): Promise<Benchmark> {
  const colon = reference.indexOf(':');
  const name = reference.slice(0, colon);
  const format = FORMATS.find((candidate) => candidate.name === name);
  if (colon < 0 || format === undefined)
    throw new BenchmarkError(
      reference,
      `it is not FORMAT:PATH with a known format; formats are ${FORMATS.map((known) => known.name).join(', ')}`,
    );
  const file = path.resolve(reference.slice(colon + 1));
  await stat(file).catch(() => {
    throw new BenchmarkError(file, 'nothing is there; give the file or folder as it was published');
  });
  return format.open(file);
}

/** The first questions only, under a name that says so. */
export function firstOf(benchmark: Benchmark, count: number): Benchmark {
  return {
    ...benchmark,
    name: `${benchmark.name}-first-${count}`,
    title: `${benchmark.title} (first ${count})`,
    published: null,
    async *items(): AsyncIterable<Item> {
      let left = count;
      if (left < 1) return;
      for await (const item of benchmark.items()) {
        yield item;
        if (--left < 1) return;
      }
    },
  };
}
