/** Tab-separated files with images in their cells, some of them gigabytes long: cells are located, not loaded. */
import { createHash, type Hash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { BenchmarkError } from '../item.ts';

/** Where a long cell lies: bytes of the file, quotes left out, and the sha256 of its text. */
export type Cell = { offset: number; length: number; sha256: string; text: string | null };

/** One row: short cells as text, cells of the blob columns as places. `row` counts from 1, the header being 0. */
export type TsvRow = { row: number; text: Record<string, string>; blobs: Record<string, Cell> };

const CHUNK = 1 << 20;
/** Blob cells shorter than this keep their text too: they name another row instead of holding an image. */
const SHORT = 64;
const [TAB, NEWLINE, RETURN, QUOTE] = [0x09, 0x0a, 0x0d, 0x22];

/**
 * Reads a TSV with a header as written by pandas: cells may be quoted, then `""` is a quote and line breaks are part of the cell.
 * One chunk of the file is in memory at a time.
 * @throws BenchmarkError when a row has more or fewer cells than the header, or the file ends inside quotes
 */
export async function* readTsv(file: string, blobColumns: readonly string[]): AsyncGenerator<TsvRow> {
  const handle = await open(file, 'r');
  try {
    yield* rowsOf(file, handle, new Set(blobColumns));
  } finally {
    await handle.close();
  }
}

/** A cell under construction. */
type Open = { offset: number; length: number; parts: Buffer[]; hash: Hash | null; kept: number };

async function* rowsOf(file: string, handle: FileHandle, blobColumns: Set<string>): AsyncGenerator<TsvRow> {
  const chunk = Buffer.allocUnsafe(CHUNK);
  let header: string[] | null = null;
  let rowNumber = 0;
  let text: Record<string, string> = {};
  let blobs: Record<string, Cell> = {};
  let column = 0;
  const names: string[] = [];
  let quoted = false;
  /** A quote inside quotes has been read; the next byte says whether it ends the cell. */
  let maybeEnd = false;
  let atStart = true;
  let cell: Open = { offset: 0, length: 0, parts: [], hash: null, kept: 0 };
  const isBlob = () => header !== null && blobColumns.has(header[column] ?? '');
  const begin = (offset: number) => {
    cell = { offset, length: 0, parts: [], hash: isBlob() ? createHash('sha256') : null, kept: 0 };
  };
  const take = (bytes: Buffer) => {
    cell.length += bytes.length;
    cell.hash?.update(bytes);
    if (cell.hash === null || cell.kept < SHORT) {
      cell.parts.push(Buffer.from(cell.hash === null ? bytes : bytes.subarray(0, SHORT)));
      cell.kept += bytes.length;
    }
  };
  const endCell = () => {
    const content = Buffer.concat(cell.parts).toString('utf8').replace(/\r$/, '');
    if (header === null) names.push(content);
    else {
      const name = header[column];
      if (name === undefined)
        throw new BenchmarkError(`${file}, row ${rowNumber}`, `it has more than ${header.length} cells`);
      if (cell.hash === null) text[name] = content;
      else {
        const { offset, length } = cell;
        const sha256 = cell.hash.digest('hex');
        blobs[name] = { offset, length, sha256, text: length < SHORT ? content : null };
      }
    }
    column++;
    atStart = true;
    quoted = false;
    maybeEnd = false;
  };
  const endRow = (): TsvRow | null => {
    if (header === null) {
      header = [...names];
      column = 0;
      return null;
    }
    if (column !== header.length)
      throw new BenchmarkError(
        `${file}, row ${rowNumber}`,
        `it has ${column} cells, the header ${header.length}`,
      );
    const row = { row: rowNumber, text, blobs };
    text = {};
    blobs = {};
    column = 0;
    return row;
  };
  let base = 0;
  for (;;) {
    const { bytesRead } = await handle.read(chunk, 0, CHUNK, base);
    if (bytesRead === 0) break;
    const bytes = chunk.subarray(0, bytesRead);
    let at = base === 0 && bytes.subarray(0, 3).equals(Buffer.from([0xef, 0xbb, 0xbf])) ? 3 : 0;
    while (at < bytesRead) {
      if (atStart) {
        if (column === 0 && header !== null) rowNumber++;
        quoted = bytes[at] === QUOTE;
        if (quoted) at++;
        begin(base + at);
        atStart = false;
        continue;
      }
      if (quoted && !maybeEnd) {
        const end = bytes.indexOf(QUOTE, at);
        take(bytes.subarray(at, end < 0 ? bytesRead : end));
        at = end < 0 ? bytesRead : end + 1;
        maybeEnd = end >= 0;
        continue;
      }
      if (quoted && bytes[at] === QUOTE) {
        take(bytes.subarray(at, at + 1));
        maybeEnd = false;
        at++;
        continue;
      }
      const tab = bytes.indexOf(TAB, at);
      // Only up to the tab: with cells of megabytes, looking for the end of the line again and again would cost as much as reading.
      const line = bytes.subarray(0, tab < 0 ? bytesRead : tab).indexOf(NEWLINE, at);
      const end = line >= 0 ? line : tab;
      const upTo = end < 0 ? bytesRead : end;
      if (quoted) {
        if (!(upTo === at || (upTo === at + 1 && bytes[at] === RETURN)))
          throw new BenchmarkError(`${file}, row ${rowNumber}`, 'there is text after a closing quote');
      } else take(bytes.subarray(at, upTo));
      if (end < 0) {
        at = bytesRead;
        continue;
      }
      at = end + 1;
      endCell();
      if (line >= 0) {
        const row = endRow();
        if (row !== null) yield row;
      }
    }
    base += bytesRead;
  }
  if (quoted && !maybeEnd)
    throw new BenchmarkError(`${file}, row ${rowNumber}`, 'the file ends inside quotes');
  if (!atStart || column > 0) {
    endCell();
    const row = endRow();
    if (row !== null) yield row;
  }
}

/** The decoded bytes of a base64 cell. Throws a BenchmarkError when the file is shorter than it was. */
export async function readCell(file: string, cell: Cell): Promise<Buffer> {
  const handle = await open(file, 'r');
  try {
    const text = Buffer.allocUnsafe(cell.length);
    const { bytesRead } = await handle.read(text, 0, cell.length, cell.offset);
    if (bytesRead < cell.length) throw new BenchmarkError(file, 'it has become shorter while it was read');
    return Buffer.from(text.toString('latin1'), 'base64');
  } finally {
    await handle.close();
  }
}
