/** A predicted or ground-truth rectangle in pixels of the original image (floats, `x1 < x2`, `y1 < y2`). Paper, eq. 1. */
export type Box = { x1: number; y1: number; x2: number; y2: number; label: string };

/** Width and height in pixels. */
export type Size = { width: number; height: number };

/**
 * Why something that looked like a box was left out.
 * - `truncated`: the text ended inside the coordinate list.
 * - `wrong_count`: not four coordinates.
 * - `not_numbers`: a coordinate that is no finite number.
 * - `reversed`: `x1 > x2` or `y1 > y2`, and the caller asked for such boxes to be dropped.
 * - `zero_area`: no width or no height, before or after clipping to the image.
 * - `outside`: the box lies entirely outside the image.
 * - `point`: a `point_2d`, which has no extent.
 * - `unkeyed`: four numbers in a list that no `bbox_2d` names.
 * - `over_limit`: beyond `maxBoxes`.
 */
export type DropReason =
  | 'truncated'
  | 'wrong_count'
  | 'not_numbers'
  | 'reversed'
  | 'zero_area'
  | 'outside'
  | 'point'
  | 'unkeyed'
  | 'over_limit';

/** One thing left out, with the text it was written as (at most 120 characters). */
export type DroppedBox = { reason: DropReason; text: string };

/** How model text is turned into boxes. */
export type ParseOptions = {
  /** The model's coordinate range: `scale` is the right and bottom edge. Qwen3-VL writes 0..1000. */
  scale?: number;
  /** Swapped corners: put right (the default), or dropped as the authors' code does. */
  reversed?: 'swap' | 'drop';
  /** Side, in model units, of the square put around a `point_2d`. 0, the default, drops points. */
  pointSize?: number;
  /** Boxes beyond this number are dropped; no limit by default (the paper draws every box). */
  maxBoxes?: number;
};

/** What a text holds: the boxes in the order written, and what was left out and why. */
export type ParsedBoxes = { boxes: Box[]; dropped: DroppedBox[] };

/** What a key's value means; small numbers, so that they fit the tables below. */
const OTHER = 0;
const BOX = 1;
const POINT = 2;
const LABEL = 3;
const NO_KEY = 4;

const NAMES: readonly (readonly [name: string, meaning: number])[] = [
  ['bbox_2d', BOX],
  ['label', LABEL],
  ['bbox', BOX],
  ['point_2d', POINT],
  ['point', POINT],
];
const EXCERPT = 120;
/** Open brackets kept; more than this is not JSON that anybody wrote on purpose, and all are given up. */
const MAX_DEPTH = 128;
/** A coordinate list needs four values; some more are kept to tell `wrong_count`, the rest only counted. */
const KEPT_VALUES = 8;

/**
 * The open brackets, outermost first, as one table with a column for each property. Columns of numbers instead of an object per bracket
 * make hostile text (a million brackets) ten times as fast. Shared by all calls, which is safe as none is interrupted by another.
 */
const OBJECT = 1;
const LIST = 0;
const kinds = new Uint8Array(MAX_DEPTH);
const starts = new Int32Array(MAX_DEPTH);
/** Objects: meaning of the key read last, until its value has been read. */
const keys = new Uint8Array(MAX_DEPTH);
/** Objects: where the last string or bare word lies, which becomes the key when a colon follows; -1 where there is none. */
const pendingStarts = new Int32Array(MAX_DEPTH);
const pendingEnds = new Int32Array(MAX_DEPTH);
/** Lists: number of values and of lists inside. */
const counts = new Int32Array(MAX_DEPTH);
const children = new Int32Array(MAX_DEPTH);
/** Lists: row of the object whose box or point this list (or the list around it) is; -1 where it is none. */
const owners = new Int16Array(MAX_DEPTH);
/** Objects: whether a box or a label has been read, which then is in the reading's maps. */
const filled = new Uint8Array(MAX_DEPTH);
/** Lists: BOX or POINT where there is an owner, and whether an object is directly around. */
const meanings = new Uint8Array(MAX_DEPTH);
const insideObjects = new Uint8Array(MAX_DEPTH);

type Coordinates = { values: readonly number[]; count: number; start: number; end: number; point: boolean };

/** One text being read: what it has given so far, and for the rows of the table what needs more than numbers. */
type Reading = {
  readonly text: string;
  readonly image: Size;
  readonly options: ParseOptions;
  readonly boxes: Box[];
  readonly dropped: DroppedBox[];
  readonly labels: Map<number, string>;
  readonly found: Map<number, Coordinates[]>;
  readonly values: Map<number, number[]>;
};

/**
 * Reads the boxes a model wrote, whatever stands around them: fenced or bare JSON, one object, lists, several lists, lists of lists
 * under one label, single quotes, numbers as strings, text before and after, output cut off in the middle.
 *
 * One pass over the text with a bounded stack, so the time is linear in its length; never throws for any text.
 * Coordinates are divided by `scale` (1000) and multiplied by the image's size, then clipped to the image.
 *
 * @param text what the Perceiver wrote
 * @param image size of the original image in pixels
 * @see paper, section 3.2 (eq. 1) and appendix B.2 ("parsed from the model outputs")
 */
export function parseBoxes(text: string, image: Size, options: ParseOptions = {}): ParsedBoxes {
  const reading: Reading = {
    text,
    image,
    options,
    boxes: [],
    dropped: [],
    labels: new Map(),
    found: new Map(),
    values: new Map(),
  };
  let depth = 0;
  let openObjects = 0;
  /** Whether a single quote here would open a string (as in Python's notation) and is no apostrophe. */
  let expectsToken = true;
  let at = 0;
  while (at < text.length) {
    const code = text.charCodeAt(at);
    const top = depth - 1;
    if (code === OPEN_LIST || code === OPEN_OBJECT) {
      if (depth === MAX_DEPTH) {
        giveUp(reading, depth);
        depth = 0;
        openObjects = 0;
        continue;
      }
      starts[depth] = at;
      keys[depth] = NO_KEY;
      pendingStarts[depth] = -1;
      if (code === OPEN_OBJECT) {
        kinds[depth] = OBJECT;
        filled[depth] = 0;
        if (depth > 0) keys[top] = NO_KEY;
        openObjects++;
      } else {
        kinds[depth] = LIST;
        counts[depth] = 0;
        children[depth] = 0;
        openList(depth);
      }
      depth++;
      expectsToken = true;
      at++;
    } else if (depth === 0 || isSpace(code)) {
      at++;
    } else if (code === CLOSE_LIST || code === CLOSE_OBJECT) {
      at++;
      expectsToken = false;
      const kind = code === CLOSE_OBJECT ? OBJECT : LIST;
      // What was left open inside is cut short by this bracket, unless the bracket closes nothing at all.
      let closes = kind === OBJECT ? openObjects > 0 : depth > openObjects;
      while (closes) {
        depth--;
        closes = kinds[depth] !== kind;
        if (kinds[depth] === OBJECT) openObjects--;
        leave(reading, depth, at, true);
      }
    } else if (code === COLON || code === COMMA) {
      const start = pendingStarts[top] ?? -1;
      keys[top] = code === COLON && start >= 0 ? meaningOf(text, start, pendingEnds[top] ?? 0) : NO_KEY;
      pendingStarts[top] = -1;
      expectsToken = true;
      at++;
    } else {
      const quoted = code === QUOTE || (code === APOSTROPHE && expectsToken);
      const start = quoted ? at + 1 : at;
      const end = quoted ? stringEnd(text, start, code) : scalarEnd(text, at);
      if (kinds[top] === LIST && owners[top] === -1) counts[top] = (counts[top] ?? 0) + 1;
      else takeValue(reading, top, start, end);
      at = quoted && text.charCodeAt(end) === code ? end + 1 : end;
      expectsToken = false;
    }
  }
  giveUp(reading, depth);
  return { boxes: reading.boxes, dropped: reading.dropped };
}

/** Fills in whose box or point the list in a row is. */
function openList(row: number): void {
  const outer = row - 1;
  owners[row] = -1;
  insideObjects[row] = 0;
  if (row === 0) return;
  if (kinds[outer] === LIST) {
    children[outer] = (children[outer] ?? 0) + 1;
    owners[row] = owners[outer] ?? -1;
    meanings[row] = meanings[outer] ?? OTHER;
    return;
  }
  insideObjects[row] = 1;
  const key = keys[outer] ?? NO_KEY;
  if (key === BOX || key === POINT) {
    owners[row] = outer;
    meanings[row] = key;
  }
  keys[outer] = NO_KEY;
}

/** A scalar has been read, without its quotes: it is a coordinate, a label, perhaps a key, or of no interest. */
function takeValue({ text, labels, found, values }: Reading, row: number, start: number, end: number): void {
  if (kinds[row] === LIST) {
    const count = (counts[row] ?? 0) + 1;
    counts[row] = count;
    if (count <= KEPT_VALUES) push(values, row, numberAt(text, start, end));
    return;
  }
  const key = keys[row];
  keys[row] = NO_KEY;
  if (key === NO_KEY) {
    pendingStarts[row] = start;
    pendingEnds[row] = end;
  } else if (key === LABEL) {
    labels.set(row, unescaped(text.slice(start, end)));
    filled[row] = 1;
  } else if (key === BOX || key === POINT) {
    const parts = text.slice(start, end).replace('[', ' ').replace(']', ' ').split(',');
    const numbers = parts.slice(0, KEPT_VALUES).map((part) => numberAt(part, 0, part.length));
    push(found, row, { values: numbers, count: parts.length, start, end, point: key === POINT });
    filled[row] = 1;
  }
}

function push<T>(lists: Map<number, T[]>, row: number, item: T): void {
  const list = lists.get(row);
  if (list === undefined) lists.set(row, [item]);
  else list.push(item);
}

/** A row of the table ends: what it holds counts, whether its bracket was closed or the text broke off. */
function leave(reading: Reading, row: number, end: number, closed: boolean): void {
  if (kinds[row] === OBJECT) {
    if (filled[row] === 1) leaveObject(reading, row);
    return;
  }
  const start = starts[row] ?? 0;
  const count = counts[row] ?? 0;
  const owner = owners[row] ?? -1;
  const whole = children[row] === 0;
  if (owner < 0) {
    if (closed && count === 4 && whole && insideObjects[row] === 0) drop(reading, 'unkeyed', start, end);
    return;
  }
  const values = count > 0 ? (reading.values.get(row) ?? []) : [];
  if (count > 0) reading.values.delete(row);
  // A list of nothing but lists holds boxes of its own and is none itself.
  if (!whole && count === 0) return;
  if (!closed) {
    drop(reading, 'truncated', start, reading.text.length);
    return;
  }
  push(reading.found, owner, { values, count, start, end, point: meanings[row] === POINT });
  filled[owner] = 1;
}

function leaveObject(reading: Reading, row: number): void {
  const { found, labels } = reading;
  for (const coordinates of found.get(row) ?? []) accept(reading, coordinates, labels.get(row) ?? '');
  found.delete(row);
  labels.delete(row);
}

/** The text ends, or nobody wrote this on purpose: nothing that is open will be closed any more. */
function giveUp(reading: Reading, depth: number): void {
  for (let row = 0; row < depth; row++) leave(reading, row, reading.text.length, false);
}

function drop({ text, dropped }: Reading, reason: DropReason, start: number, end: number): void {
  dropped.push({ reason, text: text.slice(start, Math.min(end, start + EXCERPT)) });
}

function accept(reading: Reading, found: Coordinates, label: string): void {
  const { boxes, image, options } = reading;
  const box = toBox(found, label, image, options);
  if (typeof box === 'string') drop(reading, box, found.start, found.end);
  else if (boxes.length >= (options.maxBoxes ?? Infinity))
    drop(reading, 'over_limit', found.start, found.end);
  else boxes.push(box);
}

/** The box in pixels, or why it is none. */
function toBox(
  { values, count, point }: Coordinates,
  label: string,
  { width, height }: Size,
  { scale = 1000, reversed = 'swap', pointSize = 0 }: ParseOptions,
): Box | DropReason {
  if (count !== (point ? 2 : 4)) return 'wrong_count';
  if (!values.every(Number.isFinite)) return 'not_numbers';
  let [x1 = 0, y1 = 0, x2 = 0, y2 = 0] = values;
  if (point) {
    if (pointSize <= 0) return 'point';
    const half = pointSize / 2;
    [x1, y1, x2, y2] = [x1 - half, y1 - half, x1 + half, y1 + half];
  }
  if (x1 > x2 || y1 > y2) {
    if (reversed === 'drop') return 'reversed';
    [x1, x2] = [Math.min(x1, x2), Math.max(x1, x2)];
    [y1, y2] = [Math.min(y1, y2), Math.max(y1, y2)];
  }
  if (x1 === x2 || y1 === y2) return 'zero_area';
  if (x2 <= 0 || y2 <= 0 || x1 >= scale || y1 >= scale) return 'outside';
  const box = {
    x1: (Math.max(x1, 0) / scale) * width,
    y1: (Math.max(y1, 0) / scale) * height,
    x2: (Math.min(x2, scale) / scale) * width,
    y2: (Math.min(y2, scale) / scale) * height,
    label,
  };
  return box.x1 < box.x2 && box.y1 < box.y2 ? box : 'zero_area';
}

function meaningOf(text: string, start: number, end: number): number {
  for (const [name, meaning] of NAMES) {
    if (name.length === end - start && text.startsWith(name, start)) return meaning;
  }
  return OTHER;
}

const QUOTE = 0x22;
const APOSTROPHE = 0x27;
const COMMA = 0x2c;
const COLON = 0x3a;
const BACKSLASH = 0x5c;
const OPEN_LIST = 0x5b;
const CLOSE_LIST = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const NEWLINE = 0x0a;

function isSpace(code: number): boolean {
  return code <= 0x20 || code === 0xa0;
}

/** Index of the closing quote, or of the line's end: JSON has no newline inside a string, so one ends a runaway string. */
function stringEnd(text: string, from: number, quote: number): number {
  let at = from;
  while (at < text.length) {
    const code = text.charCodeAt(at);
    if (code === quote || code === NEWLINE) return at;
    at += code === BACKSLASH ? 2 : 1;
  }
  return text.length;
}

function scalarEnd(text: string, from: number): number {
  let at = from + 1;
  while (at < text.length) {
    const code = text.charCodeAt(at);
    const ends =
      isSpace(code) ||
      code === COMMA ||
      code === COLON ||
      code === QUOTE ||
      code === OPEN_LIST ||
      code === CLOSE_LIST ||
      code === OPEN_OBJECT ||
      code === CLOSE_OBJECT;
    if (ends) break;
    at++;
  }
  return at;
}

const ESCAPES = new Map([
  ['n', '\n'],
  ['t', '\t'],
  ['r', '\r'],
  ['b', '\b'],
  ['f', '\f'],
  ['"', '"'],
  ["'", "'"],
  ['/', '/'],
  ['\\', '\\'],
]);

/** JSON's escapes resolved; an unknown one is left as it stands. Without JSON.parse, whose exceptions are slow and easy to provoke. */
function unescaped(body: string): string {
  let at = body.indexOf('\\');
  if (at < 0) return body;
  let [result, from] = ['', 0];
  while (at >= 0) {
    const next = body[at + 1] ?? '';
    const code = next === 'u' ? body.slice(at + 2, at + 6) : '';
    const unit = /^[0-9a-fA-F]{4}$/.test(code) ? String.fromCharCode(Number.parseInt(code, 16)) : undefined;
    const character = unit ?? ESCAPES.get(next);
    const end = at + (unit === undefined ? 2 : 6);
    result += body.slice(from, at) + (character ?? body.slice(at, end));
    from = end;
    at = body.indexOf('\\', from);
  }
  return result + body.slice(from);
}

/** A number as models write it, or NaN. Stricter than `Number`: no empty text, no hexadecimal, no `Infinity`. */
function numberAt(text: string, start: number, end: number): number {
  let value = 0;
  let digits = 0;
  // Nearly all coordinates are whole numbers of a few digits.
  while (digits < 9 && start + digits < end) {
    const digit = text.charCodeAt(start + digits) - 0x30;
    if (digit < 0 || digit > 9) break;
    value = value * 10 + digit;
    digits++;
  }
  if (digits > 0 && start + digits === end) return value;
  if (end - start > 40) return Number.NaN;
  const written = text.slice(start, end).trim();
  return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(written) ? Number(written) : Number.NaN;
}

/** Area of a box in square pixels. */
export function boxArea(box: Box): number {
  return Math.max(0, box.x2 - box.x1) * Math.max(0, box.y2 - box.y1);
}

/** Intersection over union of two boxes, 0..1; 0 where both are empty. */
export function boxIou(a: Box, b: Box): number {
  const width = Math.min(a.x2, b.x2) - Math.max(a.x1, b.x1);
  const height = Math.min(a.y2, b.y2) - Math.max(a.y1, b.y1);
  if (width <= 0 || height <= 0) return 0;
  const intersection = width * height;
  return intersection / (boxArea(a) + boxArea(b) - intersection);
}

/** Whether the centre of `inner` lies inside `outer` (edges included): the paper's Hit Rate, section 4.4. */
export function centreInside(inner: Box, outer: Box): boolean {
  const x = (inner.x1 + inner.x2) / 2;
  const y = (inner.y1 + inner.y2) / 2;
  return x >= outer.x1 && x <= outer.x2 && y >= outer.y1 && y <= outer.y2;
}
