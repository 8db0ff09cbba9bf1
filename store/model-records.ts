/** What the recipe says of the models that it made: training.json beside the weights, and whether the files are still those. */
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { readJson, sha256File } from './files.ts';

/** Name of the record in a model directory. */
export const MODEL_RECORD = 'training.json';
const NOT_PART_OF_IT = new Set(['README.md', MODEL_RECORD]);

const Interval = z.tuple([z.number(), z.number()]);

/** Share of right answers, 0 to 1, with its 95 % interval. */
export const Accuracy = z.looseObject({ share: z.number(), interval: Interval, questions: z.int() });

/** Figures of one split: accuracies of direct answers, of P2R and with true boxes; hit rate and IoU of the boxes, 0 to 1. */
export const ModelFigures = z.looseObject({
  direct: Accuracy,
  p2r: Accuracy,
  true_boxes: Accuracy,
  hit_rate: z.looseObject({ mean: z.number(), interval: Interval }),
  iou: z.looseObject({ mean: z.number(), interval: Interval }),
});

/** The record that the recipe writes; `files` has the sha256 of every file that the model is made of, `figures` are by split. */
export const ModelRecord = z.looseObject({
  name: z.string(),
  size: z.looseObject({ name: z.string() }),
  seed: z.int(),
  commit: z.string(),
  parameters: z.int().positive(),
  // The recipe measures the held-out split alone or several; one alone stands there without its name.
  figures: z.union([
    ModelFigures.transform((figures) => ({ 'held-out': figures })),
    z.record(z.string(), ModelFigures),
  ]),
  files: z.record(
    z.string().regex(/^[\w][\w.-]*$/, 'must be the name of a file beside it'),
    z.string().regex(/^[0-9a-f]{64}$/, 'must be a sha256'),
  ),
});
export type ModelRecord = z.infer<typeof ModelRecord>;

/** A file of a model that is not what its record says. */
export type ModelFault = { file: string; why: string };

/** The record of a model directory, or null where there is none. Throws a CorruptFileError that names what is wrong in it. */
export async function readModelRecord(directory: string): Promise<ModelRecord | null> {
  return readJson(path.join(directory, MODEL_RECORD), ModelRecord);
}

/** Compares a directory with its record: every recorded file is there with its bytes, and no other one. [] when all is well. */
export async function modelFaults(directory: string, record: ModelRecord): Promise<ModelFault[]> {
  const entries = await readdir(directory, { withFileTypes: true });
  const present = new Set(entries.filter((entry) => entry.isFile()).map((entry) => entry.name));
  const faults: ModelFault[] = [];
  for (const [file, expected] of Object.entries(record.files)) {
    if (!present.has(file)) {
      faults.push({ file, why: 'is missing' });
      continue;
    }
    const found = await sha256File(path.join(directory, file));
    if (found !== expected)
      faults.push({
        file,
        why: `is damaged: its sha256 begins with ${found.slice(0, 12)}, that of ${MODEL_RECORD} with ${expected.slice(0, 12)}`,
      });
  }
  for (const file of present)
    if (!(file in record.files) && !NOT_PART_OF_IT.has(file) && !file.startsWith('.'))
      faults.push({ file, why: `is not among the files of ${MODEL_RECORD}` });
  return faults;
}

/** Licence that the card's front matter names, or null. */
export async function licenceOf(directory: string): Promise<string | null> {
  const card = await readFile(path.join(directory, 'README.md'), 'utf8').catch(() => '');
  const front = /^---\n(.*?)\n---/s.exec(card)?.[1] ?? '';
  return /^license:\s*(\S+)\s*$/m.exec(front)?.[1] ?? null;
}
