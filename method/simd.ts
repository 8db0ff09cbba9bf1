/**
 * The inner loops of an RGB resize as a WebAssembly module of SIMD instructions, put together here byte by byte: libvips enlarges
 * through a general affine transform, ten times slower than a separable filter, and crops are enlarged a little more often than not.
 *
 * Weights are 16-bit with 14 fractional bits, two to a 32-bit word, so that one `dot` instruction weighs two taps; the
 * number of such pairs is even.
 */

/** Fractional bits of a weight. */
export const WEIGHT_BITS = 14;

/** Pointers and strides are in bytes from the memory's start; `first` and `weights` point to 32-bit words. */
export type ResizeLoops = {
  memory: WebAssembly.Memory;
  /**
   * Each row of `src` resized to `width` pixels; `first` holds byte offsets in the row. Four rows are done together: `rows` is a multiple
   * of 4. Each row of `dst` is written one byte beyond its end.
   */
  across(
    src: number,
    srcStride: number,
    rows: number,
    dst: number,
    dstStride: number,
    width: number,
    first: number,
    weights: number,
    pairs: number,
  ): void;
  /** `rows` output rows of `bytes` bytes (a multiple of 8), each a weighted sum of rows of `src`; `first` holds byte offsets. */
  down(
    src: number,
    srcStride: number,
    bytes: number,
    rows: number,
    dst: number,
    first: number,
    weights: number,
    pairs: number,
  ): void;
};

const I32 = 0x7f;
const V128 = 0x7b;
const ROUND = 1 << (WEIGHT_BITS - 1);

type Code = (number | Code)[];

function flat(code: Code, into: number[] = []): number[] {
  for (const part of code) {
    if (typeof part === 'number') into.push(part);
    else flat(part, into);
  }
  return into;
}
const unsigned = (value: number): number[] =>
  value < 128 ? [value] : [(value & 127) | 128, ...unsigned(value >>> 7)];
const signed = (value: number): number[] =>
  value >= -64 && value < 64 ? [value & 127] : [(value & 127) | 128, ...signed(value >> 7)];
const sized = (bytes: number[]): number[] => [...unsigned(bytes.length), ...bytes];
const section = (id: number, items: number[][]): number[] => [
  id,
  ...sized([...unsigned(items.length), ...items.flat()]),
];
const text = (value: string): number[] => sized([...new TextEncoder().encode(value)]);

const get = (local: number): Code => [0x20, local];
const set = (local: number, value: Code): Code => [value, 0x21, local];
const constant = (value: number): Code => [0x41, signed(value)];
const add = (a: Code, b: Code): Code => [a, b, 0x6a];
const multiply = (a: Code, b: Code): Code => [a, b, 0x6c];
const advance = (local: number, by: Code): Code => set(local, add(get(local), by));
const loadWord = (address: Code): Code => [address, 0x28, 2, 0];
/** Runs `body` until the counter, taken down by `step`, is 0. The counter must start above 0. */
const countdown = (counter: number, step: number, body: Code): Code => [
  [0x03, 0x40],
  body,
  [get(counter), constant(step), 0x6b, 0x22, counter],
  [0x0d, 0],
  0x0b,
];

const simd = (operation: number): number[] => [0xfd, ...unsigned(operation)];
const loadBytes = (address: Code): Code => [address, simd(0x00), 0, 0];
const loadWidened = (address: Code): Code => [address, simd(0x02), 0, 0];
const storeLane = (address: Code, bytes: Code, lane: number): Code => [
  address,
  bytes,
  simd(0x5a),
  0,
  0,
  lane,
];
const storeEightBytes = (address: Code, bytes: Code): Code => [address, bytes, simd(0x5b), 0, 0, 0];
const splat = (word: Code): Code => [word, simd(0x11)];
const loadSplat = (address: Code, offset: number): Code => [address, simd(0x09), 2, offset];
const shuffle = (a: Code, b: Code, lanes: number[]): Code => [a, b, simd(0x0d), lanes];
const zero: Code = [simd(0x0c), new Array<number>(16).fill(0)];
const addDot = (sum: number, samples: Code, weights: Code): Code =>
  set(sum, [get(sum), samples, weights, simd(0xba), simd(0xae)]);
const scaled = (sum: number): Code => [get(sum), constant(WEIGHT_BITS), simd(0xac)];
const narrowed = (low: Code, high: Code): Code => [low, high, simd(0x85)];
const toBytes = (low: Code, high: Code): Code => [low, high, simd(0x66)];

/** Of the bytes r0 g0 b0 r1 g1 b1 ..., taps `i` and `i + 1` as 16-bit pairs r r, g g, b b, 0 0; lane 16 is the first zero. */
const pixelPair = (i: number): number[] =>
  [0, 1, 2].flatMap((channel) => [i * 3 + channel, 16, i * 3 + 3 + channel, 16]).concat([16, 16, 16, 16]);
const INTERLEAVE_LOW = [0, 1, 16, 17, 2, 3, 18, 19, 4, 5, 20, 21, 6, 7, 22, 23];
const INTERLEAVE_HIGH = INTERLEAVE_LOW.map((lane) => lane + 8);

function across(): { parameters: number; locals: number[]; body: Code } {
  const [src, srcStride, rows, dst, dstStride, width, first, weights, pairs] = [0, 1, 2, 3, 4, 5, 6, 7, 8];
  const [x, pair, offset, weight] = [9, 10, 11, 12];
  const from = [13, 14, 15, 16] as const;
  const to = [17, 18, 19, 20] as const;
  const sums = [21, 22, 23, 24] as const;
  const [samples, early, late] = [25, 26, 27];
  const [s0, s1, s2, s3] = sums;
  const four = (line: (row: 0 | 1 | 2 | 3) => Code): Code => [line(0), line(1), line(2), line(3)];
  /** The four rows' addresses, from the first one's. */
  const rowsBelow = (pointers: readonly number[], start: Code, stride: number): Code =>
    pointers.map((pointer, row) =>
      set(pointer, row === 0 ? start : add(get(pointers[row - 1] ?? 0), get(stride))),
    );
  const pixel: Code = [
    set(s0, splat(constant(ROUND))),
    [set(s1, get(s0)), set(s2, get(s0)), set(s3, get(s0))],
    rowsBelow(from, add(get(src), loadWord(get(offset))), srcStride),
    set(pair, get(pairs)),
    countdown(pair, 2, [
      set(early, loadSplat(get(weight), 0)),
      set(late, loadSplat(get(weight), 4)),
      four((row) => [
        set(samples, loadBytes(get(from[row]))),
        addDot(sums[row], shuffle(get(samples), zero, pixelPair(0)), get(early)),
        addDot(sums[row], shuffle(get(samples), zero, pixelPair(2)), get(late)),
        advance(from[row], constant(12)),
      ]),
      advance(weight, constant(8)),
    ]),
    set(samples, toBytes(narrowed(scaled(s0), scaled(s1)), narrowed(scaled(s2), scaled(s3)))),
    // Four bytes are stored for three: the fourth is overwritten by the next pixel.
    four((row) => [storeLane(get(to[row]), get(samples), row), advance(to[row], constant(3))]),
    advance(offset, constant(4)),
  ];
  const fourRows: Code = [
    rowsBelow(to, get(dst), dstStride),
    set(offset, get(first)),
    set(weight, get(weights)),
    set(x, get(width)),
    countdown(x, 1, pixel),
    advance(src, multiply(get(srcStride), constant(4))),
    advance(dst, multiply(get(dstStride), constant(4))),
  ];
  const locals = [...new Array<number>(12).fill(I32), ...new Array<number>(7).fill(V128)];
  return { parameters: 9, locals, body: countdown(rows, 4, fourRows) };
}

function down(): { parameters: number; locals: number[]; body: Code } {
  const [src, stride, bytes, rows, dst, first, weights, pairs] = [0, 1, 2, 3, 4, 5, 6, 7];
  const [left, column, pair, from, weight, low, high, a, b] = [8, 9, 10, 11, 12, 13, 14, 15, 16];
  const eightBytes: Code = [
    set(low, splat(constant(ROUND))),
    set(high, get(low)),
    set(from, add(get(column), loadWord(get(first)))),
    set(weight, get(weights)),
    set(pair, get(pairs)),
    countdown(pair, 1, [
      set(a, loadWidened(get(from))),
      set(b, loadWidened(add(get(from), get(stride)))),
      addDot(low, shuffle(get(a), get(b), INTERLEAVE_LOW), loadSplat(get(weight), 0)),
      addDot(high, shuffle(get(a), get(b), INTERLEAVE_HIGH), loadSplat(get(weight), 0)),
      advance(from, multiply(get(stride), constant(2))),
      advance(weight, constant(4)),
    ]),
    storeEightBytes(get(dst), toBytes(narrowed(scaled(low), scaled(high)), zero)),
    advance(dst, constant(8)),
    advance(column, constant(8)),
  ];
  const row: Code = [
    set(left, get(bytes)),
    set(column, get(src)),
    countdown(left, 8, eightBytes),
    advance(first, constant(4)),
    advance(weights, multiply(get(pairs), constant(4))),
  ];
  return {
    parameters: 8,
    locals: [I32, I32, I32, I32, I32, V128, V128, V128, V128],
    body: countdown(rows, 1, row),
  };
}

/** The module's bytes. */
function assemble(): Uint8Array<ArrayBuffer> {
  const functions = [across(), down()];
  const types = functions.map(({ parameters }) => [
    0x60,
    ...sized(new Array<number>(parameters).fill(I32)),
    0,
  ]);
  const bodies = functions.map(({ locals, body }) =>
    sized([...unsigned(locals.length), ...locals.flatMap((type) => [1, type]), ...flat(body), 0x0b]),
  );
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, types),
    ...section(3, [[0], [1]]),
    ...section(5, [[0, 1]]),
    ...section(7, [
      [...text('memory'), 2, 0],
      [...text('across'), 0, 0],
      [...text('down'), 0, 1],
    ]),
    ...section(10, bodies),
  ]);
}

let loops: ResizeLoops | undefined;

/** The compiled loops; compiled at the first call. */
export function resizeLoops(): ResizeLoops {
  loops ??= new WebAssembly.Instance(new WebAssembly.Module(assemble())).exports as ResizeLoops;
  return loops;
}
