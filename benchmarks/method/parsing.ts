import fc from 'fast-check';
import { parseBoxes } from '../../method/boxes.ts';

const IMAGE = { width: 4000, height: 3000 };
const BOX = '{"bbox_2d": [100, 200, 300, 400], "label": "car"}';

/** Texts that make careless parsers slow: each is repeated up to one million characters. */
const HOSTILE: Record<string, string> = {
  'open braces': '{',
  'open brackets': '[',
  'keys without end': '{"bbox_2d": [',
  'numbers without end': '[1,',
  quotes: '"',
  'open strings': '{"',
  backslashes: '{"\\',
  'broken boxes': '{"bbox_2d": [1, 2, 3, {"label": "x", ',
  'closing brackets': ']}',
  'nested lists': '[[[[[[[[1,2,3,4]',
  'many boxes': `${BOX},`,
  'unkeyed lists': '[1,2,3,4]',
  digits: '{"bbox_2d": [1111111111111111111111111111111111111111',
  prose: 'the "red" car isn\'t in the [upper] left {corner}, ',
};

/** Milliseconds to parse one megabyte of each hostile text: the first time, and the best of nine, which leaves other processes out. */
export function timeHostileTexts(): { name: string; first: number; best: number }[] {
  return Object.entries(HOSTILE).map(([name, piece]) => {
    // Text as it comes from a server: one flat run of characters, not the tree that repeat makes.
    const text = Buffer.from(
      piece.repeat(Math.ceil(1_000_000 / piece.length)).slice(0, 1_000_000),
    ).toString();
    const times = Array.from({ length: 9 }, () => {
      const start = performance.now();
      parseBoxes(text, IMAGE);
      return performance.now() - start;
    });
    return { name, first: times[0] ?? Number.NaN, best: Math.min(...times) };
  });
}

/** Parses `cases` texts made by fast-check; throws with the smallest counterexample if one throws or gives a box outside the image. */
export function fuzzParser(cases: number, seed: number): { seconds: number; slowest: number } {
  const token = fc.constantFrom(
    ...[
      '{',
      '}',
      '[',
      ']',
      '"',
      "'",
      ',',
      ':',
      '\\',
      '\n',
      ' ',
      '```json\n',
      '"bbox_2d"',
      '"point_2d"',
      '"label"',
      'bbox_2d',
    ],
    ...[
      '0',
      '12',
      '999',
      '1e9',
      '-3',
      '1.5',
      'NaN',
      'null',
      '"7"',
      BOX,
      '[1, 2, 300, 400]',
      'é',
      '\u{1f600}',
    ],
  );
  const text = fc.oneof(
    fc.array(token, { maxLength: 40 }).map((parts) => parts.join('')),
    fc.string({ unit: 'binary', maxLength: 60 }),
  );
  let slowest = 0;
  const start = performance.now();
  fc.assert(
    fc.property(text, (value) => {
      const before = performance.now();
      const { boxes } = parseBoxes(value, IMAGE);
      slowest = Math.max(slowest, performance.now() - before);
      return boxes.every(
        ({ x1, y1, x2, y2 }) =>
          x1 >= 0 && x1 < x2 && x2 <= IMAGE.width && y1 >= 0 && y1 < y2 && y2 <= IMAGE.height,
      );
    }),
    { numRuns: cases, seed },
  );
  return { seconds: (performance.now() - start) / 1000, slowest };
}
