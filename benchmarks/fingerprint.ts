/** A page that says what a benchmark file holds, so that two people can tell whether they have the same one. */
import { createHash } from 'node:crypto';
import sharp from 'sharp';
import type { Benchmark } from './item.ts';

/** Smallest, middle and largest of a list. */
export type Range = { least: number; median: number; most: number };

/** What the page shows. `fingerprint` covers ids, texts, answers, boxes and image contents, in order. */
export type Fingerprint = {
  benchmark: string;
  title: string;
  licence: string;
  files: string[];
  count: number;
  published: number | null;
  images: number;
  clusters: number;
  categories: Record<string, number>;
  answers: Record<string, number>;
  forms: Record<string, number>;
  withBoxes: number;
  width: Range;
  height: Range;
  megapixels: Range;
  formats: Record<string, number>;
  promptCharacters: Range;
  sample: { id: string; question: string; answer: string };
  fingerprint: string;
};

function rangeOf(values: number[]): Range {
  const sorted = values.toSorted((a, b) => a - b);
  return {
    least: sorted[0] ?? 0,
    median: sorted[Math.floor(sorted.length / 2)] ?? 0,
    most: sorted.at(-1) ?? 0,
  };
}

/** Reads a benchmark to its end; every image is opened for its header. Throws what the reader throws, and RangeError when it is empty. */
export async function fingerprintBenchmark(benchmark: Benchmark): Promise<Fingerprint> {
  const hash = createHash('sha256');
  const sizes = new Map<string, { width: number; height: number; format: string; sha256: string }>();
  const counts = { categories: {}, answers: {}, forms: {}, formats: {} } as Record<
    'categories' | 'answers' | 'forms' | 'formats',
    Record<string, number>
  >;
  const add = (name: keyof typeof counts, value: string) => {
    counts[name][value] = (counts[name][value] ?? 0) + 1;
  };
  const clusters = new Set<string>();
  const lengths: number[] = [];
  let withBoxes = 0;
  let sample: Fingerprint['sample'] | undefined;
  for await (const item of benchmark.items()) {
    let image = sizes.get(item.image.key);
    if (image === undefined) {
      const bytes = await item.image.read();
      const { autoOrient, format } = await sharp(bytes, { limitInputPixels: false }).metadata();
      const sha256 = createHash('sha256').update(bytes).digest('hex');
      image = { width: autoOrient.width, height: autoOrient.height, format, sha256 };
      sizes.set(item.image.key, image);
      add('formats', format);
    }
    add('categories', item.category.join('/'));
    add('answers', item.form === 'choice' ? item.answer : item.form);
    add('forms', item.form);
    clusters.add(item.cluster);
    lengths.push(item.question.length);
    if (item.truth !== null) withBoxes++;
    sample ??= { id: item.id, question: item.question, answer: item.answer };
    const { id, question, options, answer, truth } = item;
    hash.update(JSON.stringify({ id, question, options, answer, truth, image: image.sha256 }));
  }
  if (sample === undefined) throw new RangeError(`${benchmark.name} has no question.`);
  const images = [...sizes.values()];
  return {
    benchmark: benchmark.name,
    title: benchmark.title,
    licence: benchmark.licence,
    files: benchmark.files,
    count: lengths.length,
    published: benchmark.published,
    images: images.length,
    clusters: clusters.size,
    ...counts,
    withBoxes,
    width: rangeOf(images.map(({ width }) => width)),
    height: rangeOf(images.map(({ height }) => height)),
    megapixels: rangeOf(images.map(({ width, height }) => (width * height) / 1e6)),
    promptCharacters: rangeOf(lengths),
    sample,
    fingerprint: hash.digest('hex'),
  };
}

const listed = (counts: Record<string, number>) =>
  Object.entries(counts)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, count]) => `${name} ${count}`)
    .join(', ');
const span = ({ least, median, most }: Range, digits = 0) =>
  `${least.toFixed(digits)} to ${most.toFixed(digits)}, median ${median.toFixed(digits)}`;

/** The page as Markdown. */
export function fingerprintPage(page: Fingerprint): string {
  const published =
    page.published === null
      ? 'the published number of rows is not known'
      : page.published === page.count
        ? 'as published'
        : `PUBLISHED: ${page.published}`;
  return [
    `# ${page.title}`,
    '',
    `- questions: ${page.count} (${published}), images: ${page.images}, independent clusters: ${page.clusters}`,
    `- licence: ${page.licence}`,
    `- categories: ${listed(page.categories)}`,
    `- right answers: ${listed(page.answers)}`,
    `- with ground-truth boxes: ${page.withBoxes}`,
    `- width: ${span(page.width)}; height: ${span(page.height)}; megapixels: ${span(page.megapixels, 1)}; ${listed(page.formats)}`,
    `- question length in characters: ${span(page.promptCharacters)}`,
    `- sha256 of contents: ${page.fingerprint}`,
    '',
    'First question:',
    '',
    ...`${page.sample.question}\n-> ${page.sample.answer}`.split('\n').map((line) => `    ${line}`),
    '',
  ].join('\n');
}
