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

const BOX_KEYS = new Set(['bbox_2d', 'bbox']);
const POINT_KEYS = new Set(['point_2d', 'point']);
const LABEL_KEY = 'label';
const EXCERPT = 120;
/** Open brackets kept; more than this is not JSON that anybody wrote on purpose, so the oldest are forgotten. */
const MAX_DEPTH = 1024;
/** A coordinate list needs four values; some more are kept to tell `wrong_count`, the rest only counted. */
const KEPT_VALUES = 8;

type Coordinates = { values: number[]; count: number; start: number; end: number; point: boolean };

type ObjectFrame = {
  kind: 'object';
  start: number;
  /** The key read last, until its value has been read. */
  key: string | null;
  /** The last string, which becomes the key when a colon follows. */
  pending: string | null;
  label: string;
  found: Coordinates[];
};

type ListFrame = {
  kind: 'list';
  start: number;
  values: number[];
  count: number;
  children: number;
  /** The object whose box or point this list (or the list around it) is. */
  owner: ObjectFrame | null;
  point: boolean;
  insideObject: boolean;
};

type Frame = ObjectFrame | ListFrame;

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
  const scale = options.scale ?? 1000;
  const pointSize = options.pointSize ?? 0;
  const maxBoxes = options.maxBoxes ?? Number.POSITIVE_INFINITY;
  const boxes: Box[] = [];
  const dropped: DroppedBox[] = [];

  const drop = (reason: DropReason, start: number, end: number) => {
    dropped.push({ reason, text: text.slice(start, Math.min(end, start + EXCERPT)) });
  };

  const accept = (found: Coordinates, label: string) => {
    const excerpt = (reason: DropReason) => drop(reason, found.start, found.end);
    const wanted = found.point ? 2 : 4;
    if (found.count !== wanted) return excerpt('wrong_count');
    if (!found.values.every(Number.isFinite)) return excerpt('not_numbers');
    let [x1 = 0, y1 = 0, x2 = 0, y2 = 0] = found.values;
    if (found.point) {
      if (pointSize <= 0) return excerpt('point');
      [x1, y1, x2, y2] = [x1 - pointSize / 2, y1 - pointSize / 2, x1 + pointSize / 2, y1 + pointSize / 2];
    }
    if (x1 > x2 || y1 > y2) {
      if (options.reversed === 'drop') return excerpt('reversed');
      [x1, x2] = [Math.min(x1, x2), Math.max(x1, x2)];
      [y1, y2] = [Math.min(y1, y2), Math.max(y1, y2)];
    }
    if (x1 === x2 || y1 === y2) return excerpt('zero_area');
    if (x2 <= 0 || y2 <= 0 || x1 >= scale || y1 >= scale) return excerpt('outside');
    const pixels = (value: number, side: number) => (Math.min(Math.max(value, 0), scale) / scale) * side;
    const box = {
      x1: pixels(x1, image.width),
      y1: pixels(y1, image.height),
      x2: pixels(x2, image.width),
      y2: pixels(y2, image.height),
      label,
    };
    if (!(box.x1 < box.x2 && box.y1 < box.y2)) return excerpt('zero_area');
    if (boxes.length >= maxBoxes) return excerpt('over_limit');
    boxes.push(box);
  };

  let stack: Frame[] = [];
  let openObjects = 0;
  let openLists = 0;

  const push = (frame: Frame) => {
    if (stack.length >= MAX_DEPTH) {
      stack = stack.slice(MAX_DEPTH / 2);
      openObjects = stack.filter((f) => f.kind === 'object').length;
      openLists = stack.length - openObjects;
    }
    stack.push(frame);
    if (frame.kind === 'object') openObjects++;
    else openLists++;
  };

  const closeList = (frame: ListFrame, end: number) => {
    if (frame.owner !== null) {
      if (frame.children === 0 || frame.count > 0) {
        const { values, count, start, point } = frame;
        frame.owner.found.push({ values, count, start, end, point });
      }
    } else if (!frame.insideObject && frame.children === 0 && frame.count === 4) {
      drop('unkeyed', frame.start, end);
    }
  };

  const closeObject = (frame: ObjectFrame) => {
    for (const found of frame.found) accept(found, frame.label);
  };

  /** A scalar has been read: it is a coordinate, a label, or of no interest. */
  const value = (raw: string, start: number, end: number) => {
    const top = stack.at(-1);
    if (top === undefined) return;
    if (top.kind === 'list') {
      top.count++;
      if (top.values.length < KEPT_VALUES) top.values.push(toNumber(raw));
      return;
    }
    const key = top.key;
    if (key === null) {
      top.pending = raw;
      return;
    }
    top.key = null;
    if (key === LABEL_KEY) top.label = raw;
    else if (BOX_KEYS.has(key) || POINT_KEYS.has(key)) {
      const values = raw.replace('[', ' ').replace(']', ' ').split(',').map(toNumber);
      top.found.push({
        values: values.slice(0, KEPT_VALUES),
        count: values.length,
        start,
        end,
        point: POINT_KEYS.has(key),
      });
    }
  };

  let at = 0;
  /** Whether a single quote here would open a string (as in Python's notation) and is no apostrophe. */
  let expectsToken = true;
  while (at < text.length) {
    const code = text.charCodeAt(at);
    if (stack.length === 0 && code !== OPEN_OBJECT && code !== OPEN_LIST) {
      at++;
      continue;
    }
    if (code === OPEN_OBJECT) {
      const top = stack.at(-1);
      if (top?.kind === 'object') top.key = null;
      push({ kind: 'object', start: at, key: null, pending: null, label: '', found: [] });
      expectsToken = true;
      at++;
    } else if (code === OPEN_LIST) {
      const top = stack.at(-1);
      let owner: ObjectFrame | null = null;
      let point = false;
      if (top?.kind === 'object') {
        if (top.key !== null && (BOX_KEYS.has(top.key) || POINT_KEYS.has(top.key))) {
          owner = top;
          point = POINT_KEYS.has(top.key);
        }
        top.key = null;
      } else if (top?.kind === 'list') {
        top.children++;
        owner = top.owner;
        point = top.point;
      }
      const insideObject = top?.kind === 'object';
      push({ kind: 'list', start: at, values: [], count: 0, children: 0, owner, point, insideObject });
      expectsToken = true;
      at++;
    } else if (code === CLOSE_LIST) {
      at++;
      expectsToken = false;
      if (openLists > 0) {
        // An object left open inside this list was cut short by it: what it holds counts.
        for (;;) {
          const frame = stack.pop();
          if (frame === undefined) break;
          if (frame.kind === 'list') {
            openLists--;
            closeList(frame, at);
            break;
          }
          openObjects--;
          closeObject(frame);
        }
      }
    } else if (code === CLOSE_OBJECT) {
      at++;
      expectsToken = false;
      if (openObjects > 0) {
        for (;;) {
          const frame = stack.pop();
          if (frame === undefined) break;
          if (frame.kind === 'object') {
            openObjects--;
            closeObject(frame);
            break;
          }
          openLists--;
          closeList(frame, at - 1);
        }
      }
    } else if (code === QUOTE || (code === APOSTROPHE && expectsToken)) {
      const end = stringEnd(text, at + 1, code);
      const closed = end < text.length && text.charCodeAt(end) === code;
      value(unescaped(text.slice(at + 1, end)), at, end);
      at = closed ? end + 1 : end;
      expectsToken = false;
    } else if (code === COLON) {
      const top = stack.at(-1);
      if (top?.kind === 'object') {
        top.key = top.pending;
        top.pending = null;
      }
      expectsToken = true;
      at++;
    } else if (code === COMMA) {
      const top = stack.at(-1);
      if (top?.kind === 'object') {
        top.key = null;
        top.pending = null;
      }
      expectsToken = true;
      at++;
    } else if (isSpace(code)) {
      at++;
    } else {
      const end = scalarEnd(text, at);
      value(text.slice(at, end), at, end);
      at = end;
      expectsToken = false;
    }
  }

  // What is still open when the text ends was cut off. A finished coordinate list is a box; a half-written one is not.
  for (const frame of stack) {
    if (frame.kind === 'object') closeObject(frame);
    else if (frame.owner !== null && (frame.children === 0 || frame.count > 0)) {
      drop('truncated', frame.start, text.length);
    }
  }
  return { boxes, dropped };
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

function unescaped(body: string): string {
  if (!body.includes('\\')) return body;
  try {
    return JSON.parse(
      `"${body.replace(/\\([\s\S])/g, (pair, next) => (next === "'" ? "'" : pair))}"`,
    ) as string;
  } catch {
    return body;
  }
}

/** A number as models write it, or NaN. Stricter than `Number`: no empty text, no hexadecimal, no `Infinity`. */
function toNumber(raw: string): number {
  const text = raw.trim();
  return text.length <= 40 && /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : Number.NaN;
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
