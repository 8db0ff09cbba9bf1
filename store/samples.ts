/** Dataset rows in the project's own format: rows.jsonl beside an images folder. */
import path from 'node:path';
import { z } from 'zod';
import { CorruptFileError, readJsonLines } from './files.ts';

/** One question about one image; boxes are [x1, y1, x2, y2] in pixels of the original image. */
export const Sample = z.looseObject({
  sample_id: z.string(),
  image: z.string(),
  width: z.int().positive(),
  height: z.int().positive(),
  question: z.string(),
  options: z.array(z.string()),
  answer: z.string(),
  form: z.enum(['choice', 'number', 'text']).optional().describe('how the answer is read and compared'),
  kind: z.string(),
  boxes: z.array(z.tuple([z.number(), z.number(), z.number(), z.number()])),
  labels: z.array(z.string()),
  split: z.enum(['train', 'held-out', 'hard']),
});
export type Sample = z.infer<typeof Sample>;

/** How a sample's answer is read and compared: as the row says, or by whether it has options. */
export function answerForm({ form, options }: Sample): 'choice' | 'number' | 'text' {
  return form ?? (options.length > 0 ? 'choice' : 'text');
}

/** The rows of a dataset directory, image paths made absolute. Throws when a row is unreadable or the file is missing. */
export async function readSamples(directory: string): Promise<Sample[]> {
  const file = path.join(directory, 'rows.jsonl');
  const rows = await readJsonLines(file, Sample, (line) => {
    throw new CorruptFileError(file, `line ${line} is not a sample`);
  });
  if (rows.length === 0) throw new CorruptFileError(file, 'it holds no rows');
  return rows.map((row) => ({ ...row, image: path.resolve(directory, row.image) }));
}
