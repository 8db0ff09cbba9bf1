/** V*Bench: test_questions.jsonl with a JSON of boxes beside each image, or the parquet re-pack without boxes. */
import { createReadStream, existsSync, statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { z } from 'zod';
import type { Box } from '../../method/boxes.ts';
import { type Benchmark, BenchmarkError, type ImageSource, type Item } from '../item.ts';
import { imageFile } from './images.ts';
import { optionsInText } from './options.ts';
import { parquetFiles, type ReaderTools, readParquet, storedImage } from './parquet.ts';

/** Questions of the two scored categories: 115 direct_attributes and 76 relative_position. */
const PUBLISHED = 191;
const SCORED = ['direct_attributes', 'relative_position'];

const Row = z.object({
  text: z.string().min(1),
  category: z.string(),
  label: z.string().regex(/^[A-D]$/, 'must be a letter from A to D'),
  question_id: z.union([z.string(), z.number()]).transform(String),
});
const JsonRow = Row.extend({ image: z.string() });

const Annotation = z.object({
  target_object: z.array(z.string()),
  /** x, y, width, height in pixels of the original. */
  bbox: z.array(z.tuple([z.number(), z.number(), z.number(), z.number()])),
});

const DIRECTION = /\s*Answer with the option'?s letter from the given choices directly\.?\s*$/;

function itemOf(row: z.infer<typeof Row>, image: ImageSource, truth: Box[] | null, where: string): Item {
  const question = row.text.replace(DIRECTION, '');
  const { stem, options } = optionsInText(question);
  if (row.label.charCodeAt(0) - 65 >= options.length)
    throw new BenchmarkError(where, `label ${row.label} is none of its ${options.length} options`);
  return {
    id: `${row.category}/${row.question_id}`,
    image,
    question,
    stem,
    options,
    form: 'choice',
    answer: row.label,
    truth,
    category: [row.category],
    cluster: `${row.category}/${row.question_id}`,
  };
}

/** Boxes of the JSON beside an image; `null` when there is no such file. */
async function truthOf(folder: string, image: string, where: string): Promise<Box[] | null> {
  const file = path.join(folder, image.slice(0, image.length - path.extname(image).length).concat('.json'));
  if (!existsSync(file)) return null;
  const parsed = Annotation.safeParse(JSON.parse(await readFile(file, 'utf8')));
  if (!parsed.success)
    throw new BenchmarkError(
      where,
      `${file} is no annotation: ${parsed.error.issues[0]?.message ?? 'invalid'}`,
    );
  return parsed.data.bbox.map(([x, y, width, height], index) => ({
    x1: x,
    y1: y,
    x2: x + width,
    y2: y + height,
    label: parsed.data.target_object[index] ?? '',
  }));
}

async function* fromJsonLines(file: string): AsyncGenerator<Item> {
  const folder = path.dirname(file);
  let number = 0;
  for await (const line of createInterface({ input: createReadStream(file) })) {
    number++;
    if (line.trim() === '') continue;
    const where = `${file}, line ${number}`;
    const row = checked(JsonRow, line, where);
    if (!SCORED.includes(row.category)) continue;
    const image = imageFile(folder, row.image, where);
    yield itemOf(row, image, await truthOf(folder, row.image, where), where);
  }
}

async function* fromParquet(file: string, tools: ReaderTools): AsyncGenerator<Item> {
  let number = 0;
  for await (const raw of readParquet(file, tools)) {
    const where = `${file}, row ${++number}`;
    const parsed = Row.safeParse(raw);
    if (!parsed.success) throw new BenchmarkError(where, describe(parsed.error));
    if (!SCORED.includes(parsed.data.category)) continue;
    const image = storedImage(raw.image, tools, where);
    if (image === null) throw new BenchmarkError(where, 'its field "image" holds no image');
    yield itemOf(parsed.data, image, null, where);
  }
}

function checked<T>(schema: z.ZodType<T>, line: string, where: string): T {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw new BenchmarkError(where, 'it is not JSON');
  }
  const parsed = schema.safeParse(value);
  if (!parsed.success) throw new BenchmarkError(where, describe(parsed.error));
  return parsed.data;
}

/** The first problem of a row, with its field. */
export function describe(error: z.ZodError): string {
  const issue = error.issues[0];
  return `${issue?.path.join('.') || 'the row'}: ${issue?.message ?? 'invalid'}`;
}

/** V*Bench from its folder, from test_questions.jsonl, or from a parquet file (which has no boxes). */
export function vStar(source: string, tools: ReaderTools): Benchmark {
  const folder = statSync(source).isDirectory() && parquetFiles(source) === null;
  const file = folder ? path.join(source, 'test_questions.jsonl') : source;
  if (!existsSync(file)) throw new BenchmarkError(source, 'it holds no test_questions.jsonl');
  return {
    name: 'v-star',
    title: 'V*Bench',
    licence: 'MIT (questions); images from SA-1B under its own licence',
    published: PUBLISHED,
    files: [file],
    items: () => (parquetFiles(file) !== null ? fromParquet(file, tools) : fromJsonLines(file)),
  };
}
