/** ZoomBench, VisualProbe, and training sets whose rows are a question, an answer and images. */
import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { z } from 'zod';
import type { Box } from '../../method/boxes.ts';
import { parseNumber } from '../../method/numbers.ts';
import type { AnswerForm } from '../../method/prompts.ts';
import { type Benchmark, BenchmarkError, type ImageSource, type Item } from '../item.ts';
import { csvRecords } from './csv.ts';
import { imageFile } from './images.ts';
import { optionsInText, pythonStrings, withoutLetter } from './options.ts';
import { type ReaderTools, readParquet, storedImage } from './parquet.ts';
import { describe } from './v-star.ts';

const IMAGE_TAG = /<image>\s*/g;
/** Ends the questions of ZwZ, whose images had the answer's box drawn in; the original image has none, so the sentence goes. */
const BOX_SENTENCE =
  /\s*Only focus on the objects inside the red bounding box in the image to answer this question\.?\s*/gi;

type Parts = {
  id: string;
  text: string;
  answer: string;
  image: ImageSource;
  truth: Box[] | null;
  category: string[];
  /** The image is the original, without the box that the question's last sentence speaks of: the sentence is taken out. */
  unboxed?: true;
};

/** The form of an answer: a letter where the question has options, a number where the answer is one, else text. */
export function answerForm(options: readonly string[], answer: string): AnswerForm {
  if (options.length > 0) return 'choice';
  return parseNumber(answer) === null ? 'text' : 'number';
}

function itemOf({ id, text, answer, image, truth, category, unboxed }: Parts, where: string): Item {
  const plain = text.replace(IMAGE_TAG, '');
  const question = (unboxed ? plain.replace(BOX_SENTENCE, '') : plain).trim();
  if (/red bounding box/i.test(question))
    throw new BenchmarkError(
      where,
      'its question speaks of a red bounding box: with the box drawn in, the answer leaks; use the files without boxes',
    );
  const { stem, options } = optionsInText(question);
  const letter = /^\(?([A-Z])\)?(?:[.:)]\s.*)?$/s.exec(answer.trim())?.[1];
  const named = options.findIndex(
    (option) => option === withoutLetter(answer).trim() || option === answer.trim(),
  );
  const choice = letter ?? (named < 0 ? undefined : String.fromCharCode(65 + named));
  const form = answerForm(choice === undefined ? [] : options, answer);
  return {
    id,
    image,
    question,
    stem,
    options: form === 'choice' ? options : [],
    form,
    answer: form === 'choice' ? (choice ?? '') : answer,
    truth,
    category,
    cluster: image.sha256 ?? image.key,
  };
}

const Numbers = z.array(z.number()).length(4);

/** `[x1, y1, x2, y2]`, as list or as text; `null` for anything else. */
function boxOf(value: unknown): Box[] | null {
  const numbers = typeof value === 'string' ? (value.match(/-?\d+(?:\.\d+)?/g) ?? []).map(Number) : value;
  const parsed = Numbers.safeParse(numbers);
  if (!parsed.success) return null;
  const [x1 = 0, y1 = 0, x2 = 0, y2 = 0] = parsed.data;
  return x1 < x2 && y1 < y2 ? [{ x1, y1, x2, y2, label: '' }] : null;
}

const MiniO3Row = z.object({
  images: z.array(z.string()).min(1),
  doc_id: z.union([z.string(), z.number()]).transform(String),
  problem: z.string().min(1),
  solution: z.union([z.string(), z.number()]).transform(String),
  data_source: z.string(),
});

async function* miniO3Rows(file: string): AsyncGenerator<unknown> {
  if (file.endsWith('.jsonl')) {
    for await (const line of createInterface({ input: createReadStream(file) }))
      if (line.trim() !== '') yield JSON.parse(line);
    return;
  }
  const rows: unknown = JSON.parse(await readFile(file, 'utf8'));
  if (!Array.isArray(rows)) throw new BenchmarkError(file, 'it is no JSON array');
  yield* rows;
}

/** A JSON of Mini-o3's release: VisualProbe's splits and training set, and its 4K of DeepEyes. No boxes are published. */
export function miniO3(name: string, title: string, published: number | null) {
  return (file: string): Benchmark => ({
    name,
    title,
    licence: 'CC BY-NC 4.0',
    published,
    files: [file],
    async *items() {
      let number = 0;
      for await (const raw of miniO3Rows(file)) {
        const where = `${file}, row ${++number}`;
        const parsed = MiniO3Row.safeParse(raw);
        if (!parsed.success) throw new BenchmarkError(where, describe(parsed.error));
        const { images, doc_id, problem, solution, data_source } = parsed.data;
        const [first] = images;
        if (first === undefined || images.length > 1)
          throw new BenchmarkError(where, `it has ${images.length} images, not one`);
        const image = imageFile(path.dirname(file), first, where);
        yield itemOf(
          { id: doc_id, text: problem, answer: solution, image, truth: null, category: [data_source] },
          where,
        );
      }
    },
  });
}

const ZoomBenchRow = z.object({
  prompt: z.string().min(1),
  answer: z.union([z.string(), z.number()]).transform(String),
  question_type: z.string().nullish(),
});

/** ZoomBench's parquet: the whole image with its question; with `crop`, the published crop instead. */
export function zoomBench(view: 'full' | 'crop') {
  return (file: string, tools: ReaderTools): Benchmark => ({
    name: view === 'full' ? 'zoom-bench' : 'zoom-bench-crop',
    title: view === 'full' ? 'ZoomBench' : 'ZoomBench (crops)',
    licence: 'see inclusionAI/ZoomBench',
    published: 845,
    files: [file],
    async *items() {
      let number = 0;
      for await (const raw of readParquet(file, tools)) {
        const where = `${file}, row ${++number}`;
        const parsed = ZoomBenchRow.safeParse(raw);
        if (!parsed.success) throw new BenchmarkError(where, describe(parsed.error));
        const field = view === 'full' ? 'image' : 'crop_image';
        const image = storedImage(raw[field], tools, where);
        if (image === null) throw new BenchmarkError(where, `its field "${field}" holds no image`);
        const { prompt, answer, question_type } = parsed.data;
        yield itemOf(
          {
            id: String(number - 1),
            text: prompt,
            answer,
            image,
            truth: view === 'full' ? boxOf(raw.bbox) : null,
            category: [question_type ?? 'all'],
          },
          where,
        );
      }
    },
  });
}

const DeepEyesRow = z.object({
  data_source: z.string(),
  prompt: z.array(z.object({ role: z.string(), content: z.string() })).min(1),
  images: z.array(z.unknown()).min(1),
  reward_model: z.object({ ground_truth: z.string() }),
  extra_info: z
    .looseObject({ question: z.string().optional(), index: z.union([z.string(), z.number()]).optional() })
    .nullish(),
});

/** One of DeepEyes-47K's three parquet files. */
export function deepEyes47k(file: string, tools: ReaderTools): Benchmark {
  return {
    name: 'deepeyes-47k',
    title: 'DeepEyes-47K',
    licence: 'see ChenShawn/DeepEyes-Datasets-47k',
    published: null,
    files: [file],
    async *items() {
      let number = 0;
      for await (const raw of readParquet(file, tools)) {
        const where = `${file}, row ${++number}`;
        const parsed = DeepEyesRow.safeParse(raw);
        if (!parsed.success) throw new BenchmarkError(where, describe(parsed.error));
        const { prompt, images, reward_model, extra_info, data_source } = parsed.data;
        const image = storedImage(images[0], tools, where);
        if (image === null) throw new BenchmarkError(where, 'its field "images" holds no image');
        const user = prompt.findLast(({ role }) => role === 'user')?.content ?? '';
        yield itemOf(
          {
            id: `${path.basename(file)}:${extra_info?.index ?? number - 1}:${number}`,
            text: extra_info?.question ?? user,
            answer: reward_model.ground_truth,
            image,
            truth: null,
            category: [data_source],
          },
          where,
        );
      }
    },
  };
}

const ZwzCsvRow = z.object({
  original_images: z.string(),
  bbox: z.string(),
  problem: z.string().min(1),
  answer: z.string(),
  data_source: z.string().optional(),
});

/** ZwZ-RL-VQA-mini's CSV: the images without a drawn box, and the sentence that speaks of the box taken out. */
export function zwzMini(file: string): Benchmark {
  return {
    name: 'zwz-rl-vqa-mini',
    title: 'ZwZ-RL-VQA-mini',
    licence: 'Apache-2.0',
    published: null,
    files: [file],
    async *items() {
      let number = 0;
      for await (const raw of csvRecords(file)) {
        const where = `${file}, row ${++number}`;
        const parsed = ZwzCsvRow.safeParse(raw);
        if (!parsed.success) throw new BenchmarkError(where, describe(parsed.error));
        const { original_images, bbox, problem, answer, data_source } = parsed.data;
        const paths = pythonStrings(original_images);
        const [first] = paths ?? [];
        if (first === undefined || paths?.length !== 1)
          throw new BenchmarkError(where, '"original_images" is no list of one path');
        const image = imageFile(path.dirname(file), first, where);
        const truth = boxOf(bbox);
        yield itemOf(
          {
            id: String(number - 1),
            text: problem,
            answer,
            image,
            truth,
            category: [data_source ?? 'zwz'],
            unboxed: true,
          },
          where,
        );
      }
    },
  };
}

const ZwzRow = z.object({
  images: z.array(z.unknown()).min(1),
  problem: z.string().min(1),
  answer: z.union([z.string(), z.number()]).transform(String),
});

/** ZwZ-RL-VQA's parquet. Rows whose question speaks of a drawn box are refused: the box is in the picture. */
export function zwz(file: string, tools: ReaderTools): Benchmark {
  return {
    name: 'zwz-rl-vqa',
    title: 'ZwZ-RL-VQA',
    licence: 'Apache-2.0',
    published: null,
    files: [file],
    async *items() {
      let number = 0;
      for await (const raw of readParquet(file, tools)) {
        const where = `${file}, row ${++number}`;
        const parsed = ZwzRow.safeParse(raw);
        if (!parsed.success) throw new BenchmarkError(where, describe(parsed.error));
        const { images, problem, answer } = parsed.data;
        const [first] = images;
        const image =
          typeof first === 'string'
            ? imageFile(path.dirname(file), first, where)
            : storedImage(first, tools, where);
        if (image === null) throw new BenchmarkError(where, 'its field "images" holds no image');
        yield itemOf(
          { id: String(number - 1), text: problem, answer, image, truth: boxOf(raw.bbox), category: ['zwz'] },
          where,
        );
      }
    },
  };
}
