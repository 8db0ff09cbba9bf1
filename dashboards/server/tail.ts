/** Append-only JSON Lines files, read once: what was read stays in memory, and only what was added since is read again. */
import { open, stat } from 'node:fs/promises';
import type { z } from 'zod';

/** The size, age and identity of a file as one word, '' when it does not exist: two equal words mean nothing has changed. */
export async function fileSignature(file: string): Promise<string> {
  try {
    const { size, mtimeMs, ino } = await stat(file);
    return `${ino}:${size}:${mtimeMs}`;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return '';
    throw error;
  }
}

/** A growing JSON Lines file. A last line without its newline waits for the rest of it. */
export class JsonLinesTail<T> {
  readonly file: string;
  /** What has been read so far, oldest first. */
  readonly rows: T[] = [];
  /** Numbers of the lines (from 1) that were not what they must be. */
  readonly badLines: number[] = [];
  readonly #schema: z.ZodType<T>;
  #signature = '';
  #inode = 0;
  #offset = 0;
  #lines = 0;
  #reading: Promise<unknown> = Promise.resolve();

  constructor(file: string, schema: z.ZodType<T>) {
    this.file = file;
    this.#schema = schema;
  }

  /** Reads what was added; true when there is something new. A file that was replaced or cut is read again from its start. */
  update(): Promise<boolean> {
    const next = this.#reading.then(() => this.#update());
    this.#reading = next.catch(() => undefined);
    return next;
  }

  async #update(): Promise<boolean> {
    const signature = await fileSignature(this.file);
    if (signature === this.#signature) return false;
    this.#signature = signature;
    if (signature === '') return this.#forget();
    const handle = await open(this.file, 'r');
    try {
      const { size, ino } = await handle.stat();
      const replaced = (ino !== this.#inode || size < this.#offset) && this.#forget();
      this.#inode = ino;
      const bytes = Buffer.alloc(size - this.#offset);
      const { bytesRead } = await handle.read(bytes, 0, bytes.length, this.#offset);
      const end = bytes.subarray(0, bytesRead).lastIndexOf(0x0a) + 1;
      this.#offset += end;
      if (end > 0) this.#parse(bytes.toString('utf8', 0, end - 1));
      return replaced || end > 0;
    } finally {
      await handle.close();
    }
  }

  #forget(): boolean {
    const had = this.#lines > 0;
    this.rows.length = 0;
    this.badLines.length = 0;
    this.#offset = 0;
    this.#lines = 0;
    return had;
  }

  #parse(text: string): void {
    for (const line of text.split('\n')) {
      this.#lines++;
      const parsed = this.#schema.safeParse(json(line));
      if (parsed.success) this.rows.push(parsed.data);
      else this.badLines.push(this.#lines);
    }
  }
}

function json(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}
