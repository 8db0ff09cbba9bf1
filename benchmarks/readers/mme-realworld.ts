/** MME-RealWorld and its Lite selection, as parquet, TSV or JSON. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { letterAt } from '../../method/answers.ts';
import { type Benchmark, BenchmarkError, type ImageSource, type Item } from '../item.ts';
import { imageFile } from './images.ts';
import { pythonStrings, withoutLetter } from './options.ts';
import { parquetFiles, type ReaderTools, readParquet, storedImage } from './parquet.ts';
import { readCell, readTsv } from './tsv.ts';
import { describe } from './v-star.ts';

const TASKS = ['Perception', 'Reasoning'];
const SUBTASKS = [
  'Monitoring',
  'Autonomous_Driving',
  'OCR with Complex Context',
  'Diagram and Table',
  'Remote Sensing',
];

const Index = z.union([z.string(), z.number()]).transform(String);
const Letter = z.string().regex(/^[A-E]$/, 'must be a letter from A to E');
const Row = z.object({
  index: Index,
  question: z.string().min(1),
  'multi-choice options': z.array(z.string()).min(2),
  answer: Letter,
  category: z.string(),
});

/** The JSON files spell "Question Type" in two ways; it is not read. */
const JsonRow = z.object({
  Question_id: Index,
  Image: z.string(),
  Text: z.string().min(1),
  'Answer choices': z.array(z.string()).min(2),
  'Ground truth': Letter,
  Task: z.string(),
  Subtask: z.string(),
  Category: z.string().optional(),
});

type Parts = {
  id: string;
  question: string;
  options: string[];
  answer: string;
  task: string;
  subtask: string;
};

function itemOf(
  { id, question, options, answer, task, subtask }: Parts,
  image: ImageSource,
  where: string,
): Item {
  if (!TASKS.includes(task) || !SUBTASKS.includes(subtask))
    throw new BenchmarkError(where, `its category "${task}/${subtask}" is none of the published ones`);
  const texts = options.map(withoutLetter);
  if (answer.charCodeAt(0) - 65 >= texts.length)
    throw new BenchmarkError(where, `answer ${answer} is none of its ${texts.length} options`);
  const lines = texts.map((text, index) => `(${letterAt(index)}) ${text}`);
  return {
    id,
    image,
    question: `${question}\nOptions:\n${lines.join('\n')}`,
    stem: question,
    options: texts,
    form: 'choice',
    answer,
    truth: null,
    category: [task, subtask],
    cluster: image.sha256 ?? image.key,
  };
}

function fromRow(raw: unknown, image: ImageSource, where: string): Item {
  const parsed = Row.safeParse(raw);
  if (!parsed.success) throw new BenchmarkError(where, describe(parsed.error));
  const { index, question, answer, category } = parsed.data;
  const [task = '', subtask = ''] = category.split('/');
  return itemOf(
    { id: index, question, options: parsed.data['multi-choice options'], answer, task, subtask },
    image,
    where,
  );
}

async function* fromParquet(file: string, tools: ReaderTools): AsyncGenerator<Item> {
  let number = 0;
  for await (const raw of readParquet(file, tools, { base64: ['bytes'] })) {
    const where = `${file}, row ${++number}`;
    const image = storedImage(raw.bytes, tools, where);
    if (image === null) throw new BenchmarkError(where, 'its field "bytes" holds no image');
    yield fromRow(raw, image, where);
  }
}

async function* fromTsv(file: string): AsyncGenerator<Item> {
  for await (const { row, text, blobs } of readTsv(file, ['image'])) {
    const where = `${file}, row ${row}`;
    const options = pythonStrings(text['multi-choice options'] ?? '');
    if (options === null)
      throw new BenchmarkError(where, '"multi-choice options" is no Python list of strings');
    const cell = blobs.image;
    if (cell === undefined || cell.text !== null) throw new BenchmarkError(where, 'it holds no image');
    const image = { key: cell.sha256, sha256: cell.sha256, read: () => readCell(file, cell) };
    yield fromRow({ ...text, 'multi-choice options': options }, image, where);
  }
}

async function* fromJson(file: string): AsyncGenerator<Item> {
  const rows = z.array(z.unknown()).safeParse(JSON.parse(await readFile(file, 'utf8')));
  if (!rows.success) throw new BenchmarkError(file, 'it is no JSON array');
  for (const [index, raw] of rows.data.entries()) {
    const where = `${file}, row ${index + 1}`;
    const parsed = JsonRow.safeParse(raw);
    if (!parsed.success) throw new BenchmarkError(where, describe(parsed.error));
    const row = parsed.data;
    const parts = {
      id: row.Question_id,
      question: row.Text,
      options: row['Answer choices'],
      answer: row['Ground truth'],
      task: row.Task,
      subtask: row.Subtask,
    };
    yield itemOf(parts, imageFile(path.dirname(file), row.Image, where), where);
  }
}

/** MME-RealWorld; "lite" in the path says that it is the Lite selection. */
export function mmeRealWorld(file: string, tools: ReaderTools): Benchmark {
  const lite = /lite/i.test(file);
  return {
    name: lite ? 'mme-realworld-lite' : 'mme-realworld',
    title: lite ? 'MME-RealWorld-Lite' : 'MME-RealWorld',
    licence: 'academic use only; no redistribution or modification without approval',
    // Of Lite only "50 a task, or all" is published as text.
    published: lite ? null : 29_429,
    files: [file],
    items: () => {
      if (parquetFiles(file) !== null) return fromParquet(file, tools);
      return file.endsWith('.tsv') ? fromTsv(file) : fromJson(file);
    },
  };
}
