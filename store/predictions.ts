/**
 * Replies and predictions of an evaluation: append-only JSON Lines, each line on the disk before it counts. Both are keyed by content,
 * so that going on after a crash is a set difference and two runners at once only do some work twice.
 */
import { type FileHandle, mkdir, open } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { endsInTornLine, readJson, readJsonLines } from './files.ts';
import type { Store } from './layout.ts';

/** One reply of a model. `key`: messages with the images' hashes, decoding, model. `prediction`: the question it was asked for. */
export const CallRow = z.object({
  key: z.string(),
  prediction: z.string(),
  text: z.string(),
  finish: z.enum(['stop', 'length', 'other']),
  prompt_tokens: z.int().nonnegative(),
  completion_tokens: z.int().nonnegative(),
  first_token: z.array(z.object({ token: z.string(), logprob: z.number() })).optional(),
  seconds: z.number().nonnegative(),
});
export type CallRow = z.infer<typeof CallRow>;

/** What one answer cost: the fairness ledger's columns. Pixels are those of the images as sent. */
export const Cost = z.object({
  calls: z.int().nonnegative(),
  prompt_tokens: z.int().nonnegative(),
  completion_tokens: z.int().nonnegative(),
  images: z.int().nonnegative(),
  pixels: z.int().nonnegative(),
  truncated: z.int().nonnegative(),
  model_seconds: z.number().nonnegative(),
});
export type Cost = z.infer<typeof Cost>;

/** A ledger with nothing in it yet. */
export function noCost(): Cost {
  return {
    calls: 0,
    prompt_tokens: 0,
    completion_tokens: 0,
    images: 0,
    pixels: 0,
    truncated: 0,
    model_seconds: 0,
  };
}

/** How a prediction was judged when it came in, so that a run can be watched. Scores are computed from the raw text, by any rules. */
export const Verdict = z.object({
  answer: z.string().nullable(),
  correct: z.boolean(),
  /** The question's category, coarse to fine, joined by `/`. */
  category: z.string(),
  /** Box dynamics (docs/metrics.md); empty where there are no boxes. */
  metrics: z.record(z.string(), z.number().nullable()),
});
export type Verdict = z.infer<typeof Verdict>;

/** One line of predictions.jsonl: what a strategy came to on one question. */
export const PredictionRow = z.object({
  key: z.string(),
  item: z.string(),
  strategy: z.string(),
  repeat: z.int().nonnegative(),
  text: z.string(),
  perceiver_text: z.string().nullable(),
  boxes: z.array(z.tuple([z.number(), z.number(), z.number(), z.number()])),
  stop: z.enum(['answered', 'no_answer', 'turns', 'calls', 'tokens', 'context_full']),
  notes: z.record(z.string(), z.number()),
  cost: Cost,
  /** Keys of the replies it rests on, in order. */
  trace: z.array(z.string()),
  width: z.int().positive(),
  height: z.int().positive(),
  verdict: Verdict.optional(),
});
export type PredictionRow = z.infer<typeof PredictionRow>;

/** One line of items.jsonl: what scoring needs to know of a question. The image is not kept, only its sha256. */
export const ItemRow = z.object({
  id: z.string(),
  image: z.string(),
  question: z.string(),
  options: z.array(z.string()),
  form: z.enum(['choice', 'number', 'text']),
  answer: z.string(),
  truth: z.array(z.tuple([z.number(), z.number(), z.number(), z.number()])).nullable(),
  category: z.array(z.string()),
  cluster: z.string(),
  /** Key of the prediction that every strategy and repeat must bring, by `strategy#repeat`. */
  predictions: z.record(z.string(), z.string()),
});
export type ItemRow = z.infer<typeof ItemRow>;

/** manifest.json: written when the benchmark has been read to its end; denominators come from it. */
export const Manifest = z.object({
  benchmark: z.string(),
  title: z.string(),
  licence: z.string(),
  count: z.int().nonnegative(),
  /** sha256 over the ids and contents of all items, in order. */
  fingerprint: z.string(),
  published: z.int().nullable(),
  strategies: z.array(z.string()),
  repeats: z.int().positive(),
  models: z.object({ perceiver: z.string(), reasoner: z.string() }),
  /** Names for tables. */
  labels: z.object({ perceiver: z.string(), reasoner: z.string() }),
  settings: z.record(z.string(), z.unknown()),
});
export type Manifest = z.infer<typeof Manifest>;

/** One line of runs.jsonl: what a run of the evaluation did. */
export const RunRow = z.object({
  ended_at: z.string(),
  seconds: z.number(),
  done: z.int(),
  reused: z.int(),
  missing: z.int(),
  requests: z.int(),
  failed_requests: z.int(),
  concurrency: z.int(),
});
export type RunRow = z.infer<typeof RunRow>;

/** Where the files of an evaluation lie. */
export function predictionFiles(store: Store, key: string) {
  const directory = store.evaluation(key);
  return {
    directory,
    items: path.join(directory, 'items.jsonl'),
    manifest: path.join(directory, 'manifest.json'),
    calls: path.join(directory, 'calls.jsonl'),
    predictions: path.join(directory, 'predictions.jsonl'),
    runs: path.join(directory, 'runs.jsonl'),
    judged: path.join(directory, 'judged.jsonl'),
    scored: path.join(directory, 'scored.jsonl'),
    scores: path.join(directory, 'scores.json'),
    summary: path.join(directory, 'summary.json'),
  };
}

/** Everything an evaluation has on disk. Rows that are there twice count once; `manifest` is null while reading was not finished. */
export async function readEvaluation(
  store: Store,
  key: string,
): Promise<{ manifest: Manifest | null; items: ItemRow[]; predictions: Map<string, PredictionRow> }> {
  const files = predictionFiles(store, key);
  const items = new Map((await readJsonLines(files.items, ItemRow)).map((row) => [row.id, row]));
  const predictions = await readJsonLines(files.predictions, PredictionRow);
  return {
    manifest: await readJson(files.manifest, Manifest),
    items: [...items.values()],
    predictions: new Map(predictions.map((row) => [row.key, row])),
  };
}

/**
 * An append-only JSON Lines file held open. What arrives while a write is under way goes out with the next one, so that one fsync
 * serves many rows. A line torn by a crash is closed when the file is opened.
 */
export class AppendLog<Row> {
  readonly file: string;
  #handle: Promise<FileHandle> | undefined;
  #waiting: { line: string; done: () => void; failed: (error: unknown) => void }[] = [];
  #running = false;
  #written: Promise<void> = Promise.resolve();

  constructor(file: string) {
    this.file = file;
  }

  /** Resolves when the row is on the disk. Rejects with the system's error (ENOSPC, …). */
  append(row: Row): Promise<void> {
    return new Promise((done, failed) => {
      this.#waiting.push({ line: `${JSON.stringify(row)}\n`, done, failed });
      if (!this.#running) this.#written = this.#write();
    });
  }

  async #write(): Promise<void> {
    this.#running = true;
    while (this.#waiting.length > 0) {
      const batch = this.#waiting;
      this.#waiting = [];
      try {
        this.#handle ??= openForAppend(this.file);
        const handle = await this.#handle;
        await handle.appendFile(batch.map(({ line }) => line).join(''));
        await handle.datasync();
        for (const { done } of batch) done();
      } catch (error) {
        for (const { failed } of batch) failed(error);
      }
    }
    this.#running = false;
  }

  /** Waits for what is under way and closes the file. */
  async close(): Promise<void> {
    await this.#written;
    const handle = await this.#handle?.catch(() => undefined);
    this.#handle = undefined;
    await handle?.close();
  }
}

async function openForAppend(file: string): Promise<FileHandle> {
  await mkdir(path.dirname(file), { recursive: true });
  const handle = await open(file, 'a+');
  if (await endsInTornLine(handle)) await handle.appendFile('\n');
  return handle;
}
