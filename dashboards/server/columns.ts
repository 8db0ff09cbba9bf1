/**
 * Training curves in memory: a growing metrics.jsonl read once into columns of numbers, and the attempts of a phase merged into one
 * continuous curve. Numbers in typed arrays take a tenth of the memory that row objects take.
 */
import { open } from 'node:fs/promises';
import { fileSignature } from './tail.ts';

/** Bytes that are read and parsed at once; other requests are answered between two such pieces. */
const PIECE = 512 * 1024;
/** A longer line than this is not a row of metrics. */
const LONGEST_LINE = 1024 * 1024;

/** A growing list of numbers. */
class Column {
  #values = new Float64Array(64);

  set(index: number, value: number): void {
    if (index >= this.#values.length) {
      const larger = new Float64Array(Math.max(index + 1, this.#values.length * 2));
      larger.set(this.#values);
      larger.fill(Number.NaN, this.#values.length);
      this.#values = larger;
    }
    this.#values[index] = value;
  }

  static empty(): Column {
    const column = new Column();
    column.#values.fill(Number.NaN);
    return column;
  }

  view(length: number): Float64Array {
    if (length > this.#values.length) this.set(length - 1, Number.NaN);
    return this.#values.subarray(0, length);
  }

  get bytes(): number {
    return this.#values.byteLength;
  }
}

/**
 * One attempt's metrics.jsonl as columns; `update` reads what was added since. A line is a row when the store's `MetricRow` schema takes
 * it: an object of numbers and nulls with a positive whole `step` and a `time`. A null is NaN here.
 */
export class MetricColumns {
  readonly file: string;
  /** Numbers of the lines (from 1) that are not rows. */
  readonly badLines: number[] = [];
  /** Rows read so far. */
  length = 0;
  #columns = new Map<string, Column>();
  #signature = '';
  #inode = 0;
  #offset = 0;
  #lines = 0;
  #reading: Promise<unknown> = Promise.resolve();

  constructor(file: string) {
    this.file = file;
  }

  /** Reads what was added; true when there is something new. A file that was replaced or cut is read again from its start. */
  update(): Promise<boolean> {
    const next = this.#reading.then(() => this.#update());
    this.#reading = next.catch(() => undefined);
    return next;
  }

  /** Names of the metrics that were logged, "step" and "time" left out. */
  names(): string[] {
    return [...this.#columns.keys()].filter((name) => name !== 'step' && name !== 'time');
  }

  /** A metric's values, one a row; NaN where it is undefined or was not logged. */
  values(name: string): Float64Array {
    return this.#columns.get(name)?.view(this.length) ?? new Float64Array(this.length).fill(Number.NaN);
  }

  /** Memory that the columns take. */
  get bytes(): number {
    let sum = 0;
    for (const column of this.#columns.values()) sum += column.bytes;
    return sum;
  }

  async #update(): Promise<boolean> {
    const signature = await fileSignature(this.file);
    if (signature === this.#signature) return false;
    if (signature === '') {
      this.#signature = '';
      return this.#forget();
    }
    const handle = await open(this.file, 'r');
    try {
      const { size, ino } = await handle.stat();
      let changed = (ino !== this.#inode || size < this.#offset) && this.#forget();
      this.#inode = ino;
      const buffer = Buffer.allocUnsafe(Math.min(PIECE, Math.max(1, size - this.#offset)));
      let rest: Buffer = Buffer.alloc(0);
      for (let position = this.#offset; position < size; ) {
        const { bytesRead } = await handle.read(
          buffer,
          0,
          Math.min(buffer.length, size - position),
          position,
        );
        if (bytesRead === 0) break;
        position += bytesRead;
        const bytes =
          rest.length === 0
            ? buffer.subarray(0, bytesRead)
            : Buffer.concat([rest, buffer.subarray(0, bytesRead)]);
        const end = bytes.lastIndexOf(0x0a) + 1;
        if (end > 0) {
          this.#parse(bytes.toString('utf8', 0, end - 1));
          this.#offset += end;
          changed = true;
        }
        rest = Buffer.from(bytes.subarray(end));
        if (rest.length > LONGEST_LINE) break;
      }
      this.#signature = signature;
      return changed;
    } finally {
      await handle.close();
    }
  }

  #forget(): boolean {
    const had = this.#lines > 0;
    this.#columns = new Map();
    this.badLines.length = 0;
    this.length = 0;
    this.#offset = 0;
    this.#lines = 0;
    return had;
  }

  #parse(text: string): void {
    const count = countLines(text);
    // One call of the parser for all lines is several times faster than one for each.
    const whole = json(`[${text.replaceAll('\n', ',')}]`);
    const rows = Array.isArray(whole) && whole.length === count ? whole : text.split('\n').map(json);
    for (const row of rows) {
      this.#lines++;
      if (isRow(row)) this.#add(row);
      else this.badLines.push(this.#lines);
    }
  }

  #add(row: Record<string, number | null>): void {
    for (const name in row) {
      let column = this.#columns.get(name);
      if (column === undefined) {
        column = Column.empty();
        this.#columns.set(name, column);
      }
      column.set(this.length, row[name] ?? Number.NaN);
    }
    this.length++;
  }
}

function countLines(text: string): number {
  let count = 1;
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) count++;
  return count;
}

function json(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** What the store's `MetricRow` takes, checked by hand: a schema would take longer than the parsing. Tested against it. */
export function isRow(value: unknown): value is Record<string, number | null> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  const row = value as Record<string, unknown>;
  for (const name in row) {
    const field = row[name];
    if (field !== null && !(typeof field === 'number' && Number.isFinite(field))) return false;
  }
  return Number.isSafeInteger(row.step) && (row.step as number) > 0 && typeof row.time === 'number';
}

/** The continuous curve of a phase: ascending steps, each once, and the attempt that computed it. */
export type PhaseCurve = {
  steps: Float64Array;
  attempts: Uint16Array;
  names: string[];
  values(name: string): Float64Array;
};

/** Attempts -> one row a step. A later attempt resumed from a checkpoint, so its rows replace the lost ones. */
export function mergeColumns(attempts: ReadonlyMap<number, MetricColumns>): PhaseCurve {
  const ordered = [...attempts].sort(([a], [b]) => a - b);
  const names = [...new Set(ordered.flatMap(([, columns]) => columns.names()))];
  const [first] = ordered;
  if (ordered.length === 1 && first !== undefined && isAscending(first[1].values('step'))) {
    const [attempt, columns] = first;
    return {
      steps: columns.values('step'),
      attempts: new Uint16Array(columns.length).fill(attempt),
      names,
      values: (name) => columns.values(name),
    };
  }
  const source = new Map<number, [number, number]>();
  ordered.forEach(([, columns], part) => {
    columns.values('step').forEach((step, row) => {
      source.set(step, [part, row]);
    });
  });
  const merged = [...source].sort(([a], [b]) => a - b);
  const made = new Map<string, Float64Array>();
  return {
    steps: Float64Array.from(merged, ([step]) => step),
    attempts: Uint16Array.from(merged, ([, [part]]) => ordered[part]?.[0] ?? 0),
    names,
    values(name) {
      const known = made.get(name);
      if (known !== undefined) return known;
      const parts = ordered.map(([, columns]) => columns.values(name));
      const values = Float64Array.from(merged, ([, [part, row]]) => parts[part]?.[row] ?? Number.NaN);
      made.set(name, values);
      return values;
    },
  };
}

function isAscending(values: Float64Array): boolean {
  for (let index = 1; index < values.length; index++)
    if ((values[index] ?? 0) <= (values[index - 1] ?? 0)) return false;
  return true;
}

/** Rows of the merged curve that are the first that a later attempt contributed. */
export function restartRows(curve: PhaseCurve): number[] {
  const found: number[] = [];
  for (let index = 1; index < curve.steps.length; index++)
    if (curve.attempts[index] !== curve.attempts[index - 1]) found.push(index);
  return found;
}

/**
 * Exponential moving average with its start corrected (Adam's rule): s_t = (1 - w) Σ w^(t-i) y_i / (1 - w^t) over the defined values.
 * `weight` w lies in [0, 1). NaN where y is.
 */
export function smoothed(y: Float64Array, weight: number): Float64Array {
  const out = new Float64Array(y.length).fill(Number.NaN);
  let mean = 0;
  let mass = 0;
  y.forEach((value, index) => {
    if (Number.isNaN(value)) return;
    mean = weight * mean + (1 - weight) * value;
    mass = weight * mass + (1 - weight);
    out[index] = mean / mass;
  });
  return out;
}

/** The last row of a file without reading the rest, null when there is none in its last 64 KiB. */
export async function lastRow(file: string): Promise<Record<string, number | null> | null> {
  const handle = await open(file, 'r').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return null;
    throw error;
  });
  if (handle === null) return null;
  try {
    const { size } = await handle.stat();
    const bytes = Buffer.alloc(Math.min(size, 64 * 1024));
    const { bytesRead } = await handle.read(bytes, 0, bytes.length, size - bytes.length);
    const text = bytes.toString('utf8', 0, bytesRead);
    const lines = text.slice(0, text.lastIndexOf('\n') + 1).split('\n');
    return (lines.map(json).findLast(isRow) as Record<string, number | null> | undefined) ?? null;
  } finally {
    await handle.close();
  }
}
