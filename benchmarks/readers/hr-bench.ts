/** HR-Bench 4K and 8K: 200 questions, each in four cyclic orders of its options, as TSV or parquet. */
import { z } from 'zod';
import { type Benchmark, BenchmarkError, type ImageSource, type Item, letteredLines } from '../item.ts';
import { parquetFiles, type ReaderTools, readParquet, storedImage } from './parquet.ts';
import { type Cell, readCell, readTsv } from './tsv.ts';
import { describe } from './v-star.ts';

const PUBLISHED = 800;
const PERMUTATIONS = 4;
const LETTERS = ['A', 'B', 'C', 'D'] as const;

const Text = z.union([z.string(), z.number()]).transform(String);
const Row = z.object({
  index: Text,
  question: z.string().min(1),
  answer: z.enum(LETTERS),
  A: Text,
  B: Text,
  C: Text,
  D: Text,
  /** `single`: FSP; `cross`: FCP. */
  category: z.enum(['single', 'cross']),
  cycle_category: Text,
});

const NAMES = { single: 'FSP', cross: 'FCP' };

function itemOf(row: z.infer<typeof Row>, image: ImageSource): Item {
  const options = LETTERS.map((letter) => row[letter]);
  return {
    id: row.index,
    image,
    question: `${row.question}\nOptions:\n${letteredLines(options)}`,
    stem: row.question,
    options,
    form: 'choice',
    answer: row.answer,
    truth: null,
    category: [NAMES[row.category]],
    // The same question about the same image; the four orders differ in their options alone.
    cluster: `${image.sha256 ?? image.key}:${row.question}`,
  };
}

/** Refuses the file at its end when a question has not each of its four orders once. */
async function* inFours(
  file: string,
  rows: AsyncIterable<{ item: Item; cycle: string }>,
): AsyncGenerator<Item> {
  const groups = new Map<string, Set<string>>();
  const sizes = new Map<string, number>();
  for await (const { item, cycle } of rows) {
    groups.set(item.cluster, (groups.get(item.cluster) ?? new Set()).add(cycle));
    sizes.set(item.cluster, (sizes.get(item.cluster) ?? 0) + 1);
    yield item;
  }
  for (const [cluster, cycles] of groups) {
    const size = sizes.get(cluster) ?? 0;
    if (size !== PERMUTATIONS || cycles.size !== PERMUTATIONS)
      throw new BenchmarkError(
        file,
        `the question "${cluster.slice(cluster.indexOf(':') + 1, 120)}" has ${size} rows in ${cycles.size} orders, not 4 in 4`,
      );
  }
}

async function* fromTsv(file: string): AsyncGenerator<{ item: Item; cycle: string }> {
  const images = new Map<string, Cell>();
  const waiting = new Map<string, z.infer<typeof Row>[]>();
  const source = (cell: Cell): ImageSource => ({
    key: cell.sha256,
    sha256: cell.sha256,
    read: () => readCell(file, cell),
  });
  for await (const { row: number, text, blobs } of readTsv(file, ['image'])) {
    const where = `${file}, row ${number}`;
    const parsed = Row.safeParse(text);
    if (!parsed.success) throw new BenchmarkError(where, describe(parsed.error));
    const row = parsed.data;
    const cell = blobs.image;
    if (cell === undefined) throw new BenchmarkError(where, 'there is no column "image"');
    if (cell.text === null) {
      images.set(row.index, cell);
      yield { item: itemOf(row, source(cell)), cycle: row.cycle_category };
      for (const other of waiting.get(row.index) ?? [])
        yield { item: itemOf(other, source(cell)), cycle: other.cycle_category };
      waiting.delete(row.index);
      continue;
    }
    // A short cell is the index of the row that holds the image.
    const index = cell.text.trim();
    const held = images.get(index);
    if (held !== undefined) yield { item: itemOf(row, source(held)), cycle: row.cycle_category };
    else waiting.set(index, [...(waiting.get(index) ?? []), row]);
  }
  const [missing] = waiting.keys();
  if (missing !== undefined)
    throw new BenchmarkError(
      file,
      `rows refer to the image of row "${missing.slice(0, 60)}", which is not there`,
    );
}

async function* fromParquet(file: string, tools: ReaderTools): AsyncGenerator<{ item: Item; cycle: string }> {
  let number = 0;
  for await (const raw of readParquet(file, tools, { base64: ['image'] })) {
    const where = `${file}, row ${++number}`;
    const parsed = Row.safeParse(raw);
    if (!parsed.success) throw new BenchmarkError(where, describe(parsed.error));
    const image = storedImage(raw.image, tools, where);
    if (image === null) throw new BenchmarkError(where, 'its field "image" holds no image');
    yield { item: itemOf(parsed.data, image), cycle: parsed.data.cycle_category };
  }
}

/** One of the two HR-Bench files; which one is told by its name. */
export function hrBench(file: string, tools: ReaderTools): Benchmark {
  const eight = /8k/i.test(file);
  return {
    name: eight ? 'hr-bench-8k' : 'hr-bench-4k',
    title: eight ? 'HR-Bench 8K' : 'HR-Bench 4K',
    licence: 'see DreamMr/HR-Bench (tag: other); not for redistribution',
    published: PUBLISHED,
    files: [file],
    items: () => inFours(file, parquetFiles(file) !== null ? fromParquet(file, tools) : fromTsv(file)),
  };
}
