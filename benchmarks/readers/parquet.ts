/** Parquet rows with images in them, one at a time: the project's Python reads the file, images go to a folder named by content. */
import { spawn } from 'node:child_process';
import { readdirSync, statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { BenchmarkError, type ImageSource } from '../item.ts';

/** What readers of parquet need from outside. */
export type ReaderTools = {
  /** Interpreter of the project's Python environment, and the environment it needs. */
  python: string;
  pythonEnvironment: Record<string, string>;
  /** Folder for images taken out of parquet files; content-addressed, may be deleted at any time. */
  images: string;
};

/** A cell of bytes as it is handed over: its sha256 is the name of its file. */
type Stored = { $sha256: string };

/** The parquet files that a path stands for: itself, or the shards of a folder in the order of their names. `null`: it is none. */
export function parquetFiles(source: string): string[] | null {
  if (source.endsWith('.parquet')) return [source];
  if (!statSync(source, { throwIfNoEntry: false })?.isDirectory()) return null;
  const shards = readdirSync(source).filter((name) => name.endsWith('.parquet'));
  return shards.length === 0 ? null : shards.sort().map((name) => path.join(source, name));
}

/** Rows of a file or of a folder of shards. */
export async function* readParquet(
  source: string,
  tools: ReaderTools,
  options: { base64?: readonly string[] } = {},
): AsyncGenerator<Record<string, unknown>> {
  const files = parquetFiles(source);
  if (files === null)
    throw new BenchmarkError(source, 'it is no parquet file, and no folder that holds some');
  for (const file of files) yield* readShard(file, tools, options);
}

/**
 * Rows as plain values; cells of bytes are `{$sha256}`. `base64` names text columns that hold images.
 * @throws BenchmarkError with Python's last words when the file cannot be read
 */
async function* readShard(
  file: string,
  tools: ReaderTools,
  { base64 = [] }: { base64?: readonly string[] } = {},
): AsyncGenerator<Record<string, unknown>> {
  const child = spawn(
    tools.python,
    ['-m', 'p2r_engines.parquet_rows', file, '--images', tools.images, '--base64', base64.join(',')],
    { env: { ...process.env, ...tools.pythonEnvironment }, stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let words = '';
  child.stderr.on('data', (chunk: Buffer) => {
    words = (words + chunk.toString()).slice(-2000);
  });
  const ended = new Promise<number | null>((resolve) => {
    child.once('error', (error) => {
      words = error.message;
      resolve(null);
    });
    child.once('close', (code) => resolve(code));
  });
  try {
    for await (const line of createInterface({ input: child.stdout })) yield JSON.parse(line);
    const code = await ended;
    if (code !== 0)
      throw new BenchmarkError(file, words.trim().split('\n').at(-1) || `Python ended with code ${code}`);
  } finally {
    child.kill();
  }
}

/** The image of a cell: bytes, or a struct of bytes and path as Hugging Face's Image feature has it. `null` when it is neither. */
export function storedImage(value: unknown, tools: ReaderTools, where: string): ImageSource | null {
  const cell = value !== null && typeof value === 'object' && 'bytes' in value ? value.bytes : value;
  if (cell === null || typeof cell !== 'object' || !('$sha256' in cell)) return null;
  const { $sha256: sha256 } = cell as Stored;
  if (!/^[0-9a-f]{64}$/.test(sha256)) return null;
  return {
    key: sha256,
    sha256,
    read: () =>
      readFile(path.join(tools.images, sha256.slice(0, 2), sha256)).catch((error: Error) => {
        throw new BenchmarkError(where, `its image has gone (${error.message}); run the command again`);
      }),
  };
}
