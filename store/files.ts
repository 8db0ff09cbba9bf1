/** Durable file primitives: a file written here is either whole or absent, also after a power cut. */
import { createHash } from 'node:crypto';
import { createReadStream, existsSync } from 'node:fs';
import { type FileHandle, mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import type { z } from 'zod';

/** A file that is there but does not hold what it must. The message names the file and the first wrong key. */
export class CorruptFileError extends Error {
  readonly file: string;
  constructor(file: string, why: string) {
    super(`${file} is not readable as expected: ${why}. Move it aside, or restore it from a copy.`);
    this.name = 'CorruptFileError';
    this.file = file;
  }
}

async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Writes `data` to `file` by fsync and rename; parents are made. Throws the system's error (ENOSPC, EACCES) unchanged. */
export async function writeFileAtomic(file: string, data: string | Uint8Array, mode = 0o644): Promise<void> {
  const directory = path.dirname(file);
  await mkdir(directory, { recursive: true });
  const temporary = path.join(
    directory,
    `.${path.basename(file)}.${process.pid}.${Math.random().toString(36).slice(2, 8)}`,
  );
  try {
    const handle = await open(temporary, 'w', mode);
    try {
      await handle.writeFile(data);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, file);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  await syncDirectory(directory);
}

/** {@link writeFileAtomic} for a JSON value, indented so that people can read it. */
export async function writeJson(file: string, value: unknown, mode?: number): Promise<void> {
  await writeFileAtomic(file, `${JSON.stringify(value, null, 2)}\n`, mode);
}

/** Reads a JSON file through a schema. Returns null when the file does not exist; throws {@link CorruptFileError} otherwise. */
export async function readJson<T>(file: string, schema: z.ZodType<T>): Promise<T | null> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new CorruptFileError(file, 'it is not JSON');
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new CorruptFileError(file, `${issue?.path.join('.') || 'value'}: ${issue?.message ?? 'invalid'}`);
}

/**
 * Reads a JSON Lines file through a schema. A last line without its newline (a writer was killed) is left out; any other
 * unreadable line is reported through `onBadLine` and left out. Returns [] when the file does not exist.
 */
export async function readJsonLines<T>(
  file: string,
  schema: z.ZodType<T>,
  onBadLine?: (line: number) => void,
): Promise<T[]> {
  if (!existsSync(file)) return [];
  const text = await readFile(file, 'utf8');
  const lines = text.split('\n');
  lines.pop();
  const rows: T[] = [];
  lines.forEach((line, index) => {
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch {
      onBadLine?.(index + 1);
      return;
    }
    const parsed = schema.safeParse(value);
    if (parsed.success) rows.push(parsed.data);
    else onBadLine?.(index + 1);
  });
  return rows;
}

/** Whether the last line of an open file lacks its newline, because a crash tore it. */
export async function endsInTornLine(handle: FileHandle): Promise<boolean> {
  const { size } = await handle.stat();
  if (size === 0) return false;
  const last = Buffer.alloc(1);
  await handle.read(last, 0, 1, size - 1);
  return last[0] !== 0x0a;
}

/** An append-only JSON Lines file; every append has reached the disk when its promise resolves. */
export class JsonLinesWriter {
  readonly file: string;
  #tail: Promise<void> = Promise.resolve();

  constructor(file: string) {
    this.file = file;
  }

  /** Appends the values in order, after everything appended before. A torn last line left by a crash is closed first. */
  append(...values: unknown[]): Promise<void> {
    const next = this.#tail.then(() => this.#write(values));
    this.#tail = next.catch(() => undefined);
    return next;
  }

  async #write(values: unknown[]): Promise<void> {
    await mkdir(path.dirname(this.file), { recursive: true });
    const handle = await open(this.file, 'a+');
    try {
      const prefix = (await endsInTornLine(handle)) ? '\n' : '';
      await handle.appendFile(prefix + values.map((value) => `${JSON.stringify(value)}\n`).join(''));
      await handle.datasync();
    } finally {
      await handle.close();
    }
  }
}

/** Hex sha256 of a file's bytes, streamed; of its first `size` bytes where given. */
export async function sha256File(file: string, size = Number.POSITIVE_INFINITY): Promise<string> {
  const hash = createHash('sha256');
  if (size > 0)
    for await (const chunk of createReadStream(file, { end: size - 1 })) hash.update(chunk as Buffer);
  return hash.digest('hex');
}
