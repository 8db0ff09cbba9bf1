import type { Box, Size } from './boxes.ts';
import { type Colour, type ImageRules, linePixels } from './image-rules.ts';
import { type AxisWeights, axisWeights, type Kernel } from './resampling.ts';

/** Opacity along one axis of the resized image: `values[i]` belongs to sample `from + i`; elsewhere it is 0. */
type Profile = { from: number; values: Float64Array };

/**
 * Draws the outlines of the boxes into an image already resized, so that the result is what resizing a fully drawn original gives:
 * a rectangle is the product of two intervals, and a separable resize of it is the product of the two resized intervals. An outline is
 * the outer rectangle less the inner one. Later boxes lie over earlier ones. Thousands of boxes cost no more than their outlines.
 *
 * @param pixels `size.width * size.height * 3` RGB bytes, changed in place
 * @param size of `pixels`
 * @param original size of the image the boxes are measured in
 * @see paper, section 3.2: annotate(I, B) overlays the predicted boxes; appendix B.2: all boxes are drawn
 */
export function drawBoxes(
  pixels: Uint8Array,
  size: { height: number; width: number },
  boxes: readonly Box[],
  original: Size,
  rules: ImageRules,
): void {
  if (boxes.length === 0) return;
  const kernel = (input: number, output: number): Kernel => {
    if (rules.resampling === 'cubic') return 'cubic';
    return input >= output ? 'area' : 'cubic-sharp';
  };
  const across = recentWeights(original.width, size.width, kernel(original.width, size.width));
  const down = recentWeights(original.height, size.height, kernel(original.height, size.height));
  const line = linePixels(original, rules);
  for (const [index, box] of boxes.entries()) {
    const colour = rules.colours[index % rules.colours.length];
    if (colour === undefined) return;
    const horizontal = edges(box.x1, box.x2, line, rules);
    const vertical = edges(box.y1, box.y2, line, rules);
    drawFrame(pixels, size, colour, {
      outerX: interval(horizontal.outer, original.width, across),
      innerX: interval(horizontal.inner, original.width, across),
      outerY: interval(vertical.outer, original.height, down),
      innerY: interval(vertical.inner, original.height, down),
    });
  }
}

/** Weights of the sizes drawn last: all rollouts of an image ask for the same two axes. */
const recent = new Map<string, AxisWeights>();

function recentWeights(input: number, output: number, kernel: Kernel): AxisWeights {
  const key = `${input}:${output}:${kernel}`;
  const weights = recent.get(key) ?? axisWeights(input, output, kernel);
  recent.delete(key);
  recent.set(key, weights);
  for (const oldest of recent.keys()) {
    if (recent.size <= 16) break;
    recent.delete(oldest);
  }
  return weights;
}

type Interval = readonly [from: number, to: number];

/** Outer and inner edge of a line along one axis, in pixels of the original. */
function edges(
  from: number,
  to: number,
  line: number,
  rules: ImageRules,
): { outer: Interval; inner: Interval } {
  if (rules.lineAlign === 'centred') {
    const half = line / 2;
    return { outer: [from - half, to + half], inner: [from + half, to - half] };
  }
  const first = Math.trunc(from);
  const end = Math.trunc(to) + 1;
  return { outer: [first, end], inner: [first + line, end - line] };
}

/** The interval's opacity after resizing: how much of each output sample it covers. */
function interval([from, to]: Interval, input: number, axis: AxisWeights): Profile {
  const output = axis.first.length;
  if (to <= from) return { from: 0, values: new Float64Array(0) };
  const step = input / output;
  const reach = axis.taps + step;
  const start = Math.max(0, Math.floor((from - reach) / step));
  const end = Math.min(output, Math.ceil((to + reach) / step));
  const values = new Float64Array(Math.max(0, end - start));
  for (let i = start; i < end; i++) {
    const first = axis.first[i] ?? 0;
    if (first >= from && first + axis.taps <= to) {
      values[i - start] = 1;
      continue;
    }
    let sum = 0;
    for (let k = 0; k < axis.taps; k++) {
      const pixel = first + k;
      const covered = Math.min(to, pixel + 1) - Math.max(from, pixel);
      if (covered > 0) sum += (axis.weights[i * axis.taps + k] ?? 0) * covered;
    }
    values[i - start] = sum;
  }
  return { from: start, values };
}

function drawFrame(
  pixels: Uint8Array,
  size: { height: number; width: number },
  colour: Colour,
  { outerX, innerX, outerY, innerY }: { outerX: Profile; innerX: Profile; outerY: Profile; innerY: Profile },
): void {
  // Between these columns a row that lies wholly inside the frame has nothing to draw.
  const hollowFrom = innerX.from + innerX.values.indexOf(1);
  const hollowTo = innerX.from + innerX.values.lastIndexOf(1) + 1;
  for (let row = 0; row < outerY.values.length; row++) {
    const y = outerY.from + row;
    const outer = outerY.values[row] ?? 0;
    const inner = innerY.values[y - innerY.from] ?? 0;
    const hollow = outer === 1 && inner === 1 && hollowTo > hollowFrom;
    for (let column = 0; column < outerX.values.length; column++) {
      const x = outerX.from + column;
      if (hollow && x === hollowFrom) {
        column += hollowTo - hollowFrom - 1;
        continue;
      }
      const opacity = outer * (outerX.values[column] ?? 0) - inner * (innerX.values[x - innerX.from] ?? 0);
      if (opacity === 0) continue;
      blend(pixels, (y * size.width + x) * 3, colour, opacity);
    }
  }
}

function blend(pixels: Uint8Array, at: number, colour: Colour, opacity: number): void {
  for (let channel = 0; channel < 3; channel++) {
    const before = pixels[at + channel] ?? 0;
    const value = before + ((colour[channel] ?? 0) - before) * opacity;
    pixels[at + channel] = value < 0 ? 0 : value > 255 ? 255 : Math.round(value);
  }
}
