/** The project's own needle scenes: rows.jsonl beside an images folder. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { answerForm, readSamples, type Sample } from '../../store/samples.ts';
import { type Benchmark, BenchmarkError, type Item } from '../item.ts';

/** One row as a question. */
export function needleItem(sample: Sample): Item {
  return {
    id: sample.sample_id,
    image: {
      key: sample.image,
      read: () =>
        readFile(sample.image).catch((error: Error) => {
          throw new BenchmarkError(sample.sample_id, `its image cannot be read (${error.message})`);
        }),
    },
    question: sample.question,
    stem: sample.question.split('\n(A)')[0] ?? sample.question,
    options: sample.options,
    form: answerForm(sample),
    answer: sample.answer,
    truth: sample.boxes.map(([x1, y1, x2, y2], index) => ({
      x1,
      y1,
      x2,
      y2,
      label: sample.labels[index] ?? '',
    })),
    category: [sample.kind],
    cluster: sample.image,
    size: { width: sample.width, height: sample.height },
  };
}

/** The scenes of a directory that `p2r_engines.needle_scenes` wrote; those of the hard split are another benchmark. */
export function needleBenchmark(directory: string, split: 'held-out' | 'hard' = 'held-out'): Benchmark {
  return {
    name: split === 'hard' ? 'needle-hard' : 'needle',
    title: split === 'hard' ? 'Needle scenes (hard)' : 'Needle scenes',
    licence: 'Apache-2.0 (generated)',
    published: null,
    files: [path.join(directory, 'rows.jsonl')],
    async *items() {
      for (const sample of await readSamples(directory)) yield needleItem(sample);
    },
  };
}
