/**
 * Min/max-preserving LTTB: a long curve as at most a given number of its own points, with no spike lost. The step axis is cut into bins of
 * a power-of-two width that start at multiples of it, so that bins stay where they are while a curve grows. Of each bin the lowest and the
 * highest point are kept, and the one that spans the largest triangle with its neighbours (Steinarsson's largest-triangle rule).
 */

/** Fewest points that a curve can be asked for. */
export const FEWEST_POINTS = 16;

/**
 * Width of the bins for a window of `span` steps and a budget of `limit` points (at least {@link FEWEST_POINTS}): a power of two, so wide
 * that the bins, three points each, and the two ends stay inside the budget.
 */
export function binWidth(span: number, limit: number): number {
  const bins = Math.floor((limit - 2) / 3);
  return 2 ** Math.ceil(Math.log2(Math.max(span, Number.MIN_VALUE) / (bins - 1)));
}

/**
 * Indices of the points to draw, ascending: all of them if they fit into `limit`, otherwise the first, the last, and of every bin the
 * lowest, the highest and the most telling one. A bin whose values are all NaN keeps one of them, so that its gap stays visible.
 * @param x ascending and finite
 * @param y of the same length; NaN is "undefined here"
 * @param span width of the window in units of x; the data's own extent if that is larger
 */
export function downsample(x: Float64Array, y: Float64Array, limit: number, span = 0): number[] {
  const count = x.length;
  if (count <= limit) return Array.from({ length: count }, (_, index) => index);
  const width = binWidth(Math.max(span, at(x, count - 1) - at(x, 0)), limit);
  const kept: number[] = [0];
  const keep = (...points: number[]) => {
    for (const point of points.sort((a, b) => a - b)) if (point > (kept.at(-1) ?? -1)) kept.push(point);
  };
  let previous = Number.isNaN(at(y, 0)) ? -1 : 0;
  for (let begin = 0, end = binEnd(x, 0, width); begin < count; ) {
    const nextEnd = end < count ? binEnd(x, end, width) : end;
    const [low, high] = extremes(y, begin, end);
    if (low < 0) {
      keep(begin);
      previous = -1;
    } else {
      const after: [number, number] = end < count ? [end, nextEnd] : [end - 1, end];
      const telling = largestTriangle(x, y, [begin, end], previous, after);
      keep(low, high, telling);
      previous = Math.max(low, high, telling);
    }
    begin = end;
    end = nextEnd;
  }
  keep(count - 1);
  return kept;
}

/** The points of ascending `x` inside [from, to] and one neighbour on each side, as [begin, end); none where x lies wholly outside. */
export function windowOf(x: Float64Array, from: number, to: number): [number, number] {
  if (x.length === 0 || at(x, 0) > to || at(x, x.length - 1) < from) return [0, 0];
  return [
    Math.max(0, firstIndex(x, (value) => value >= from) - 1),
    Math.min(x.length, firstIndex(x, (value) => value > to) + 1),
  ];
}

function firstIndex(x: Float64Array, reached: (value: number) => boolean): number {
  let low = 0;
  let high = x.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (reached(at(x, middle))) high = middle;
    else low = middle + 1;
  }
  return low;
}

function binEnd(x: Float64Array, begin: number, width: number): number {
  const limit = (Math.floor(at(x, begin) / width) + 1) * width;
  let end = begin + 1;
  while (end < x.length && at(x, end) < limit) end++;
  return end;
}

/** Where the lowest and the highest value lie; -1 when there is none. */
function extremes(y: Float64Array, begin: number, end: number): [number, number] {
  let low = -1;
  let high = -1;
  let lowest = Number.POSITIVE_INFINITY;
  let highest = Number.NEGATIVE_INFINITY;
  for (let index = begin; index < end; index++) {
    const value = at(y, index);
    if (value < lowest) [low, lowest] = [index, value];
    if (value > highest) [high, highest] = [index, value];
  }
  return [low, high];
}

function largestTriangle(
  x: Float64Array,
  y: Float64Array,
  [begin, end]: [number, number],
  previous: number,
  next: [number, number],
): number {
  const [beforeX, beforeY] = previous < 0 ? [at(x, begin), 0] : [at(x, previous), at(y, previous)];
  const [afterX, afterY] = meanPoint(x, y, next);
  let best = begin;
  let largest = -1;
  for (let index = begin; index < end; index++) {
    const area = Math.abs(
      (beforeX - afterX) * (at(y, index) - beforeY) - (beforeX - at(x, index)) * (afterY - beforeY),
    );
    if (area > largest) [best, largest] = [index, area];
  }
  return best;
}

function meanPoint(x: Float64Array, y: Float64Array, [begin, end]: [number, number]): [number, number] {
  let sumX = 0;
  let sumY = 0;
  let count = 0;
  for (let index = begin; index < end; index++) {
    const value = at(y, index);
    if (Number.isNaN(value)) continue;
    sumX += at(x, index);
    sumY += value;
    count++;
  }
  return count === 0 ? [at(x, begin), 0] : [sumX / count, sumY / count];
}

function at(values: Float64Array, index: number): number {
  return values[index] ?? Number.NaN;
}
