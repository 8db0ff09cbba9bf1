/** From a format's name and a path to a benchmark or training set that can be read. */
import { stat } from 'node:fs/promises';
import path from 'node:path';
import { type Benchmark, BenchmarkError, type Item } from './item.ts';
import { hrBench } from './readers/hr-bench.ts';
import { mmeRealWorld } from './readers/mme-realworld.ts';
import { needleBenchmark } from './readers/needle.ts';
import { deepEyes47k, miniO3, zoomBench, zwz, zwzMini } from './readers/open-questions.ts';
import type { ReaderTools } from './readers/parquet.ts';
import { reasonSeg } from './readers/reason-seg.ts';
import { vStar } from './readers/v-star.ts';

/** A published form: what to give, and who reads it. */
export type Format = {
  name: string;
  what: string;
  training?: true;
  open: (source: string, tools: ReaderTools) => Benchmark;
};

/** Every format, by the name given before the colon. */
export const FORMATS: readonly Format[] = [
  { name: 'needle', what: 'folder with rows.jsonl', open: (source) => needleBenchmark(source) },
  { name: 'v-star', what: 'folder with test_questions.jsonl, or parquet', open: vStar },
  { name: 'hr-bench', what: 'TSV or parquet of 4K or 8K', open: hrBench },
  {
    name: 'mme-realworld',
    what: 'parquet (or a folder of shards), TSV or JSON; Lite by its name',
    open: mmeRealWorld,
  },
  { name: 'reason-seg', what: 'folder of a split: val, test', open: reasonSeg },
  { name: 'zoom-bench', what: 'parquet, whole images', open: zoomBench('full') },
  { name: 'zoom-bench-crop', what: 'parquet, published crops', open: zoomBench('crop') },
  { name: 'visual-probe-easy', what: 'val.json', open: miniO3('visual-probe-easy', 'VisualProbe easy', 141) },
  {
    name: 'visual-probe-medium',
    what: 'val.json',
    open: miniO3('visual-probe-medium', 'VisualProbe medium', 268),
  },
  { name: 'visual-probe-hard', what: 'val.json', open: miniO3('visual-probe-hard', 'VisualProbe hard', 106) },
  {
    name: 'visual-probe-train',
    what: 'train.json',
    training: true,
    open: miniO3('visual-probe-train', 'VisualProbe training set', null),
  },
  {
    name: 'deepeyes-4k',
    what: 'train.json of Mini-o3/DeepEyes_train_4K',
    training: true,
    open: miniO3('deepeyes-4k', 'DeepEyes (4K)', null),
  },
  {
    name: 'deepeyes-47k',
    what: 'its folder, or one of its parquet files',
    training: true,
    open: deepEyes47k,
  },
  { name: 'zwz-mini', what: 'train_crop_clean.csv', training: true, open: zwzMini },
  { name: 'zwz', what: 'parquet', training: true, open: zwz },
];

/**
 * Opens `FORMAT:PATH`.
 * @throws BenchmarkError when the format is unknown or nothing is at the path
 */
export async function openBenchmark(reference: string, tools: ReaderTools): Promise<Benchmark> {
  const colon = reference.indexOf(':');
  const name = reference.slice(0, colon);
  const format = FORMATS.find((candidate) => candidate.name === name);
  if (colon < 0 || format === undefined)
    throw new BenchmarkError(
      reference,
      `it is not FORMAT:PATH with a known format; formats are ${FORMATS.map((known) => known.name).join(', ')}`,
    );
  const source = path.resolve(reference.slice(colon + 1));
  await stat(source).catch(() => {
    throw new BenchmarkError(source, 'nothing is there; give the file or folder as it was published');
  });
  return format.open(source, tools);
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
