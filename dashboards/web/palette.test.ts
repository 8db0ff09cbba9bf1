/** The palette of style.css: texts readable by WCAG's AA on every ground, lines visible, roles told apart with any colour vision. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';

type Colour = [red: number, green: number, blue: number];

const css = readFileSync(path.join(import.meta.dirname, 'style.css'), 'utf8');

/** The colours of a block of style.css, by name. */
function colours(selector: string): Map<string, Colour> {
  const block = css.slice(css.indexOf(`${selector} {`)).split('}')[0] ?? '';
  return new Map(
    [...block.matchAll(/--([a-z0-9-]+): #([0-9a-f]{6});/g)].map(([, name = '', hex = '']) => [
      name,
      [0, 2, 4].map((at) => Number.parseInt(hex.slice(at, at + 2), 16) / 255) as Colour,
    ]),
  );
}

const light = colours(':root');
const themes = { light, dark: new Map([...light, ...colours(':root[data-theme="dark"]')]) };

const linear = (share: number) => (share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4);

/** WCAG's contrast ratio, 1 to 21. */
function contrast(a: Colour, b: Colour): number {
  const [high = 0, low = 0] = [a, b]
    .map(([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b))
    .sort((x, y) => y - x);
  return (high + 0.05) / (low + 0.05);
}

/** How full dichromats see a colour, in linear RGB (Machado, Oliveira and Fernandes 2009, severity 1). */
const VISION: Record<string, number[][]> = {
  any: [
    [1, 0, 0],
    [0, 1, 0],
    [0, 0, 1],
  ],
  protanopia: [
    [0.152286, 1.052583, -0.204868],
    [0.114503, 0.786281, 0.099216],
    [-0.003882, -0.048116, 1.051998],
  ],
  deuteranopia: [
    [0.367322, 0.860646, -0.227968],
    [0.280085, 0.672501, 0.047413],
    [-0.01182, 0.04294, 0.968881],
  ],
  tritanopia: [
    [1.255528, -0.076749, -0.178779],
    [-0.078411, 0.930809, 0.147602],
    [0.004733, 0.691367, 0.3039],
  ],
};

/** CIE L*a*b* of a colour as somebody sees it. */
function lab(colour: Colour, vision: number[][]): number[] {
  const rgb = colour.map(linear);
  const [r = 0, g = 0, b = 0] = vision.map((row) =>
    Math.min(
      1,
      Math.max(
        0,
        row.reduce((sum, factor, index) => sum + factor * (rgb[index] ?? 0), 0),
      ),
    ),
  );
  const [x = 0, y = 0, z = 0] = [
    (0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.9505,
    0.2126 * r + 0.7152 * g + 0.0722 * b,
    (0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.089,
  ].map((value) => (value > 0.008856 ? Math.cbrt(value) : 7.787 * value + 16 / 116));
  return [116 * y - 16, 500 * (x - y), 200 * (y - z)];
}

const distance = (a: number[], b: number[]) =>
  Math.hypot(...a.map((value, index) => value - (b[index] ?? 0)));

describe.each(Object.entries(themes))('%s', (_, palette) => {
  const colour = (name: string) => {
    const found = palette.get(name);
    if (found === undefined) throw new Error(`style.css has no colour ${name}`);
    return found;
  };

  test.each(['ground', 'panel'])('texts on %s can be read', (ground) => {
    for (const text of ['ink', 'soft', 'link', 'good', 'bad', 'busy'])
      expect(contrast(colour(text), colour(ground)), text).toBeGreaterThanOrEqual(4.5);
  });

  test('what is wrong can be read on its own ground', () => {
    for (const text of ['bad', 'ink'])
      expect(contrast(colour(text), colour('bad-ground'))).toBeGreaterThanOrEqual(4.5);
  });

  test('lines, bars and boxes stand out', () => {
    for (const line of [
      'perceiver',
      'reasoner',
      'p2r',
      'direct',
      'other',
      ...[1, 2, 3, 4, 5, 6, 7, 8].map((n) => `run-${n}`),
    ])
      expect(contrast(colour(line), colour('panel')), line).toBeGreaterThanOrEqual(3);
  });

  test.each(Object.entries(VISION))('what shares a chart is told apart: %s', (_, vision) => {
    for (const names of [
      ['perceiver', 'reasoner', 'direct'],
      ['p2r', 'direct'],
      ['predicted', 'truth'],
    ]) {
      const seen = names.map((name) => lab(colour(name), vision));
      for (const [index, one] of seen.entries())
        for (const [after, other] of seen.slice(index + 1).entries())
          expect(distance(one, other), `${names[index]}, ${names[index + 1 + after]}`).toBeGreaterThan(15);
    }
  });
});
