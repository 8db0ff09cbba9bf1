/** The paper's training mixture: 3K of DeepEyes, 3K of VisualProbe and 4K of ZwZ, drawn with a seed. */
import { createHash } from 'node:crypto';
import { mkdir, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import sharp from 'sharp';
import { writeFileAtomic, writeJson } from '../store/files.ts';
import { type Benchmark, BenchmarkError, type Item } from './item.ts';

/** One source and how many of its questions are wanted. */
export type Share = { source: Benchmark; count: number };

/** Questions by source in the paper (appendix C.1); which releases it used is in docs/evaluation.md. */
export const PAPER_MIXTURE = { deepeyes: 3000, 'visual-probe': 3000, zwz: 4000 } as const;

/**
 * The `count` questions whose hash with the seed is smallest: the same for any order of the file, and nearly the same when a few rows are
 * added. Holds `count` questions at a time, without images.
 * @throws BenchmarkError when the source has fewer
 */
export async function draw({ source, count }: Share, seed: number): Promise<Item[]> {
  const chosen: { rank: string; item: Item }[] = [];
  for await (const item of source.items()) {
    const rank = createHash('sha256').update(`${seed}:${source.name}:${item.id}`).digest('hex');
    chosen.push({ rank, item });
    if (chosen.length >= 2 * count + 1000) trim(chosen, count);
  }
  trim(chosen, count);
  if (chosen.length < count)
    throw new BenchmarkError(source.name, `it has ${chosen.length} questions and ${count} are wanted`);
  return chosen.map(({ item }) => item);
}

function trim(chosen: { rank: string; item: Item }[], count: number): void {
  chosen.sort((a, b) => (a.rank < b.rank ? -1 : 1));
  chosen.length = Math.min(chosen.length, count);
}

/**
 * Draws from all sources and writes a dataset in the project's own form: rows.jsonl, images by content, and mixture.json with sources,
 * licences and counts. The folder appears whole or not at all.
 */
export async function writeMixture(folder: string, shares: readonly Share[], seed: number): Promise<number> {
  const staging = `${folder}.partial`;
  await rm(staging, { recursive: true, force: true });
  await mkdir(path.join(staging, 'images'), { recursive: true });
  const rows: { rank: string; line: string }[] = [];
  for (const share of shares) {
    for (const item of await draw(share, seed)) {
      const bytes = await item.image.read();
      const { autoOrient, format } = await sharp(bytes, { limitInputPixels: false }).metadata();
      const sha256 = createHash('sha256').update(bytes).digest('hex');
      const image = `images/${sha256}.${format}`;
      await writeFileAtomic(path.join(staging, image), bytes);
      const id = `${share.source.name}/${item.id}`;
      const line = JSON.stringify({
        sample_id: id,
        image,
        width: autoOrient.width,
        height: autoOrient.height,
        question: item.question,
        options: item.options,
        answer: item.answer,
        form: item.form,
        kind: share.source.name,
        boxes: (item.truth ?? []).map(({ x1, y1, x2, y2 }) => [x1, y1, x2, y2]),
        labels: (item.truth ?? []).map(({ label }) => label),
        split: 'train',
        source: share.source.name,
        licence: share.source.licence,
      });
      rows.push({ rank: createHash('sha256').update(`${seed}:order:${id}`).digest('hex'), line });
    }
  }
  rows.sort((a, b) => (a.rank < b.rank ? -1 : 1));
  await writeFileAtomic(path.join(staging, 'rows.jsonl'), rows.map(({ line }) => `${line}\n`).join(''));
  await writeJson(path.join(staging, 'mixture.json'), {
    seed,
    sources: shares.map(({ source, count }) => ({
      name: source.name,
      files: source.files,
      licence: source.licence,
      count,
    })),
  });
  await rename(staging, folder);
  return rows.length;
}
