import { resizeLoops, WEIGHT_BITS } from './simd.ts';

/**
 * One axis of a resize as a table: output sample `i` is the sum over `k` of `weights[i * taps + k] * input[first[i] + k]`.
 * The weights of each output sample sum to 1.
 */
export type AxisWeights = { first: Int32Array; taps: number; weights: Float64Array };

/**
 * `area`: overlap of pixel squares. `cubic`: Catmull-Rom (a = -0.5), stretched when shrinking. `cubic-sharp`: a = -0.75, never stretched.
 * `area-linear`: the two samples that OpenCV takes for `area` once an axis grows.
 */
export type Kernel = 'area' | 'area-linear' | 'cubic' | 'cubic-sharp';

/**
 * Weights of one axis from `input` to `output` samples. Samples beyond the edge count as the edge's.
 * `area` needs `output <= input`.
 */
export function axisWeights(input: number, output: number, kernel: Kernel): AxisWeights {
  const step = input / output;
  const stretch = kernel === 'cubic' ? Math.max(1, step) : 1;
  const support = kernel === 'area' ? step / 2 : 2 * stretch;
  const taps = Math.min(input, kernel === 'area-linear' ? 2 : Math.ceil(2 * support) + 1);
  const first = new Int32Array(output);
  const weights = new Float64Array(output * taps);
  for (let i = 0; i < output; i++) {
    const centre = (i + 0.5) * step;
    const leftmost = kernel === 'area-linear' ? i * step : centre - support;
    const start = Math.min(Math.max(0, Math.floor(leftmost + 1e-9)), input - taps);
    first[i] = start;
    let sum = 0;
    const add = (source: number, weight: number) => {
      const k = i * taps + Math.min(Math.max(source, 0), input - 1) - start;
      weights[k] = (weights[k] ?? 0) + weight;
      sum += weight;
    };
    if (kernel === 'area') {
      const from = i * step;
      const to = from + step;
      for (let j = start; j < start + taps; j++) {
        const overlap = Math.min(to, j + 1) - Math.max(from, j);
        if (overlap > 1e-9) add(j, overlap);
      }
    } else if (kernel === 'area-linear') {
      const base = Math.min(Math.floor(i * step + 1e-9), input - 1);
      const past = i + 1 - (base + 1) / step;
      const share = past <= 0 ? 0 : past - Math.floor(past);
      add(base, 1 - share);
      add(base + 1, share);
    } else if (kernel === 'cubic') {
      for (let j = start; j < start + taps; j++) {
        add(j, cubic((j + 0.5 - centre) / stretch, -0.5));
      }
    } else {
      const base = Math.floor(centre - 0.5);
      for (let j = base - 1; j <= base + 2; j++) add(j, cubic(j + 0.5 - centre, -0.75));
    }
    for (let k = 0; k < taps; k++) {
      const index = i * taps + k;
      weights[index] = (weights[index] ?? 0) / sum;
    }
  }
  return { first, taps, weights };
}

/** Keys' cubic convolution kernel. */
function cubic(x: number, a: number): number {
  const d = Math.abs(x);
  if (d < 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
  if (d < 2) return (((d - 5) * d + 8) * d - 4) * a;
  return 0;
}

/**
 * Resizes 8-bit RGB rows: area averages where the width shrinks, cubic (a = -0.75) where it does not, as OpenCV is used for the
 * tiny models' images. Meant for small images; runs on the calling thread.
 *
 * @param pixels RGB bytes of an image `width` pixels wide
 * @param region left, top, width and height of the part to resize, in pixels
 * @returns `target.width * target.height * 3` bytes
 */
export function resizeArea(
  pixels: Uint8Array,
  width: number,
  region: { left: number; top: number; width: number; height: number },
  target: { width: number; height: number },
): Uint8Array {
  const shrinks = region.height >= target.height ? 'area' : 'area-linear';
  const kernel: Kernel = region.width > target.width ? shrinks : 'cubic-sharp';
  const across = axisWeights(region.width, target.width, kernel);
  const down = axisWeights(region.height, target.height, kernel);

  const rowLength = target.width * 3;
  const rows = new Float32Array(region.height * rowLength);
  for (let y = 0; y < region.height; y++) {
    const source = ((region.top + y) * width + region.left) * 3;
    for (let x = 0; x < target.width; x++) {
      let [r, g, b] = [0, 0, 0];
      let at = source + (across.first[x] ?? 0) * 3;
      for (let k = 0; k < across.taps; k++, at += 3) {
        const weight = across.weights[x * across.taps + k] ?? 0;
        r += weight * (pixels[at] ?? 0);
        g += weight * (pixels[at + 1] ?? 0);
        b += weight * (pixels[at + 2] ?? 0);
      }
      const to = y * rowLength + x * 3;
      rows[to] = r;
      rows[to + 1] = g;
      rows[to + 2] = b;
    }
  }

  const output = new Uint8ClampedArray(target.height * rowLength);
  const sums = new Float32Array(rowLength);
  for (let y = 0; y < target.height; y++) {
    sums.fill(0);
    for (let k = 0; k < down.taps; k++) {
      const weight = down.weights[y * down.taps + k] ?? 0;
      if (weight === 0) continue;
      const row = ((down.first[y] ?? 0) + k) * rowLength;
      for (let i = 0; i < rowLength; i++) sums[i] = (sums[i] ?? 0) + weight * (rows[row + i] ?? 0);
    }
    output.set(sums, y * rowLength);
  }
  return new Uint8Array(output.buffer);
}

/**
 * Enlarges 8-bit RGB rows (or shrinks them a little) by the antialiased cubic filter of `axisWeights`, first across and then down, with
 * the result between the two rounded to bytes, as Pillow does it. On the calling thread, by SIMD: about 5 ms for a megapixel.
 *
 * @param pixels RGB bytes of an image `width` pixels wide
 * @param target width must be a multiple of 8
 * @param result filled with `target.width * target.height * 3` bytes
 */
export function resizeCubic(
  pixels: Uint8Array,
  width: number,
  region: { left: number; top: number; width: number; height: number },
  target: { width: number; height: number },
  result: Uint8Array,
): void {
  const { memory, across, down } = resizeLoops();
  const sourceStride = region.width * 3;
  const rowBytes = target.width * 3;
  // Between the two filters a row has room for what the first one writes beyond its end.
  const stride = rowBytes + 16;
  const columns = packedWeights(axisWeights(region.width, target.width, 'cubic'), 3);
  const rows = packedWeights(axisWeights(region.height, target.height, 'cubic'), stride);

  // Rows that fill up the last four, and taps that fill up the last pairs, may lie beyond the image: they count for nothing, but their
  // bytes must exist.
  const taps = rows.pairs * 2;
  const bandRows = Math.ceil((Math.ceil(BAND * (region.height / target.height)) + taps + 1) / 4) * 4;
  const source = 0;
  const middle = align(source + sourceStride * bandRows + 64);
  const output = align(middle + stride * (bandRows + taps));
  const tables = align(output + rowBytes * BAND);
  const words = [columns.first, columns.weights, rows.first, rows.weights];
  const needed = words.reduce((end, table) => end + table.byteLength, tables);
  const missing = needed - memory.buffer.byteLength;
  if (missing > 0) memory.grow(Math.ceil(missing / 65_536));

  const bytes = new Uint8Array(memory.buffer);
  let at = tables;
  const [columnFirst = 0, columnWeights = 0, rowFirst = 0, rowWeights = 0] = words.map((table) => {
    const start = at;
    new Int32Array(memory.buffer, start, table.length).set(table);
    at += table.byteLength;
    return start;
  });
  // An axis that keeps its length is not filtered: its rows go straight to where the filter would have put them.
  const sameWidth = region.width === target.width;
  const sameHeight = region.height === target.height;
  const [rowsAt, rowsStride] = sameWidth ? [middle, stride] : [source, sourceStride];
  for (let top = 0; top < target.height; top += BAND) {
    const height = Math.min(BAND, target.height - top);
    const from = sameHeight ? top : (rows.first[top] ?? 0) / stride;
    const last = sameHeight ? top + height : (rows.first[top + height - 1] ?? 0) / stride + taps;
    const to = Math.min(region.height, last);
    for (let y = from; y < to; y++) {
      const pixel = ((region.top + y) * width + region.left) * 3;
      bytes.set(pixels.subarray(pixel, pixel + sourceStride), rowsAt + (y - from) * rowsStride);
    }
    if (!sameWidth) {
      const filled = Math.ceil((to - from) / 4) * 4;
      across(
        source,
        sourceStride,
        filled,
        middle,
        stride,
        target.width,
        columnFirst,
        columnWeights,
        columns.pairs,
      );
    }
    if (sameHeight) {
      for (let y = 0; y < height; y++) {
        result.set(bytes.subarray(middle + y * stride, middle + y * stride + rowBytes), (top + y) * rowBytes);
      }
    } else {
      // The table of first rows counts from the image's top, the band's rows from its own.
      const above = middle - from * stride;
      const weights = rowWeights + top * rows.pairs * 4;
      down(above, stride, rowBytes, height, output, rowFirst + top * 4, weights, rows.pairs);
      result.set(bytes.subarray(output, output + height * rowBytes), top * rowBytes);
    }
  }
}

/** Output rows done at a time: few enough that what the two filters pass on stays in the processor's cache. */
const BAND = 32;

function align(address: number): number {
  return Math.ceil(address / 16) * 16;
}

/** An axis' weights in fixed point, two taps to a word, and where each output's taps begin, in units of `unit` bytes. */
function packedWeights(
  { first, taps, weights }: AxisWeights,
  unit: number,
): { first: Int32Array; weights: Int32Array; pairs: number } {
  const one = 1 << WEIGHT_BITS;
  const output = first.length;
  const begin = new Int32Array(output);
  const fixed = new Int32Array(output * taps);
  let most = 1;
  for (let i = 0; i < output; i++) {
    // Zero weights at either end are common and cost as much as others.
    let [from, to, sum, largest] = [taps, 0, 0, i * taps];
    for (let k = 0; k < taps; k++) {
      const at = i * taps + k;
      const weight = Math.round((weights[at] ?? 0) * one);
      fixed[at] = weight;
      sum += weight;
      if (weight === 0) continue;
      from = Math.min(from, k);
      to = k + 1;
      if (weight > (fixed[largest] ?? 0)) largest = at;
    }
    // Rounding must not change the brightness: the largest weight takes what is left over.
    fixed[largest] = (fixed[largest] ?? 0) + one - sum;
    begin[i] = from;
    most = Math.max(most, to - from);
  }
  const pairs = Math.ceil(most / 4) * 2;
  const packed = new Int16Array(output * pairs * 2);
  for (let i = 0; i < output; i++) {
    const from = begin[i] ?? 0;
    for (let k = from; k < Math.min(taps, from + most); k++)
      packed[i * pairs * 2 + k - from] = fixed[i * taps + k] ?? 0;
    begin[i] = ((first[i] ?? 0) + from) * unit;
  }
  return { first: begin, weights: new Int32Array(packed.buffer), pairs };
}
