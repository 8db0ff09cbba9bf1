import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { boxIou, centreInside, type ParseOptions, parseBoxes } from './boxes.ts';

const IMAGE = { width: 2000, height: 500 };
const parse = (text: string, options?: ParseOptions) => {
  const { boxes, dropped } = parseBoxes(text, IMAGE, options);
  return {
    boxes: boxes.map(({ x1, y1, x2, y2, label }) => [x1, y1, x2, y2, label]),
    dropped: dropped.map(({ reason }) => reason),
  };
};
const CAR = [200, 100, 600, 200, 'car'];
const DOG = [1000, 250, 1200, 300, 'dog'];
const car = '{"bbox_2d": [100, 200, 300, 400], "label": "car"}';
const dog = '{"bbox_2d": [500, 500, 600, 600], "label": "dog"}';

describe('what models really write', () => {
  it.each([
    ['bare list', `[${car}, ${dog}]`, [CAR, DOG]],
    ['fenced list', `\`\`\`json\n[\n\t${car},\n\t${dog}\n]\n\`\`\``, [CAR, DOG]],
    ['one object', car, [CAR]],
    ['text around', `The "car" isn't far {see}: ${car} and that's it.`, [CAR]],
    ['several lists', `[${car}]\nor better\n[${dog}]`, [CAR, DOG]],
    ['one object a line', `${car}\n${dog}`, [CAR, DOG]],
    ['label first', '{"label": "car", "bbox_2d": [100, 200, 300, 400]}', [CAR]],
    ['nested', `{"objects": [${car}, {"inner": ${dog}}]}`, [CAR, DOG]],
    ['numbers as strings', '{"bbox_2d": ["100", "200", "300", "400"], "label": "car"}', [CAR]],
    ['list as string', '{"bbox_2d": "[100, 200, 300, 400]", "label": "car"}', [CAR]],
    ['decimals', '{"bbox_2d": [100.0, 2e2, 300, 400.], "label": "car"}', [CAR]],
    ['Python notation', "[{'bbox_2d': [100, 200, 300, 400], 'label': 'car'}]", [CAR]],
    ['keys without quotes', '{bbox_2d: [100, 200, 300, 400], label: "car"}', [CAR]],
    [
      'several boxes under one label',
      '{"bbox_2d": [[100, 200, 300, 400], [500, 500, 600, 600]], "label": "x"}',
      [
        [200, 100, 600, 200, 'x'],
        [1000, 250, 1200, 300, 'x'],
      ],
    ],
    ['reversed corners', '{"bbox_2d": [300, 400, 100, 200], "label": "car"}', [CAR]],
    [
      'brackets in the label',
      '{"bbox_2d": [100, 200, 300, 400], "label": "a ] } \\" b"}',
      [[200, 100, 600, 200, 'a ] } " b']],
    ],
    ['brackets never closed before it', `[ ( { [ ${car}`, [CAR]],
    ['brackets never opened before it', `] } ] ${car}`, [CAR]],
    ['a list closed by a brace', '{"bbox_2d": [100, 200, 300, 400}', [[200, 100, 600, 200, '']]],
    [
      'cut off in the label',
      `[${car}, {"bbox_2d": [500, 500, 600, 600], "label": "do`,
      [CAR, [1000, 250, 1200, 300, 'do']],
    ],
    [
      'beyond the image',
      '{"bbox_2d": [-50, 200, 1300, 400], "label": "wide"}',
      [[0, 100, 2000, 200, 'wide']],
    ],
    ['no label', '{"bbox_2d": [100, 200, 300, 400]}', [[200, 100, 600, 200, '']]],
    ['empty list', '[]', []],
    ['nothing', '', []],
  ])('%s', (_, text, wanted) => {
    expect(parse(text)).toEqual({ boxes: wanted, dropped: [] });
  });

  it.each([
    ['truncated', `[${car}, {"bbox_2d": [500, 5`, [CAR]],
    ['wrong_count', '{"bbox_2d": [1, 2, 3], "label": "x"}', []],
    ['wrong_count', '{"bbox_2d": [], "label": "x"}', []],
    ['not_numbers', '{"bbox_2d": [1, 2, 3, NaN], "label": "x"}', []],
    ['not_numbers', '{"bbox_2d": [1, 2, 3, 1e999], "label": "x"}', []],
    ['zero_area', '{"bbox_2d": [5, 5, 5, 9], "label": "x"}', []],
    ['outside', '{"bbox_2d": [1200, 100, 1300, 200], "label": "x"}', []],
    ['point', '{"point_2d": [500, 500], "label": "x"}', []],
    ['unkeyed', '[100, 200, 300, 400]', []],
  ])('names what was dropped: %s', (reason, text, wanted) => {
    expect(parse(text)).toEqual({ boxes: wanted, dropped: [reason] });
  });

  it('follows the options', () => {
    const reversed = '{"bbox_2d": [300, 400, 100, 200], "label": "car"}';
    expect(parse(reversed, { reversed: 'drop' })).toEqual({ boxes: [], dropped: ['reversed'] });
    expect(parse('{"point_2d": [500, 500], "label": "x"}', { pointSize: 20 }).boxes).toEqual([
      [980, 245, 1020, 255, 'x'],
    ]);
    expect(parse(`${car}${dog}`, { maxBoxes: 1 })).toEqual({ boxes: [CAR], dropped: ['over_limit'] });
    expect(parse('{"bbox_2d": [0, 0, 1, 1]}', { scale: 1 }).boxes).toEqual([[0, 0, 2000, 500, '']]);
  });

  it('keeps the text of what was dropped, shortened', () => {
    const { dropped } = parseBoxes(`{"bbox_2d": [${'1,'.repeat(200)}1]}`, IMAGE);
    expect(dropped).toEqual([{ reason: 'wrong_count', text: expect.stringMatching(/^\[1,1,/) }]);
    expect(dropped[0]?.text).toHaveLength(120);
  });

  it('takes thousands of boxes', () => {
    const text = `[${Array.from({ length: 5000 }, (_, i) => `{"bbox_2d": [${i % 900}, 1, ${(i % 900) + 9}, 5]}`).join(',\n')}]`;
    expect(parseBoxes(text, IMAGE).boxes).toHaveLength(5000);
  });
});

const token = fc.constantFrom(
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
  '"x"',
  '0',
  '12',
  '999',
  '1e9',
  '-3',
  '1.5',
  'NaN',
  'null',
  'bbox_2d',
  car,
  '[1, 2, 300, 400]',
  'é',
  '\u{1f600}',
); // prettier-ignore

describe('any text', () => {
  const text = fc.oneof(
    fc.array(token, { maxLength: 60 }).map((parts) => parts.join('')),
    fc.string({ unit: 'binary' }),
  );

  it('gives only boxes inside the image, and never throws', () => {
    fc.assert(
      fc.property(text, (value) => {
        for (const box of parseBoxes(value, IMAGE).boxes) {
          expect(box.x1 >= 0 && box.x1 < box.x2 && box.x2 <= IMAGE.width).toBe(true);
          expect(box.y1 >= 0 && box.y1 < box.y2 && box.y2 <= IMAGE.height).toBe(true);
        }
      }),
      { numRuns: 20_000 },
    );
  });

  it('keeps an escaped backslash before a quote', () => {
    const text = JSON.stringify([{ bbox_2d: [0, 0, 1, 1], label: "\\'" }]);
    expect(parseBoxes(text, { width: 1000, height: 1000 }).boxes[0]?.label).toBe("\\'");
  });

  it('finds a well-formed list again after text without brackets', () => {
    const coordinate = fc.integer({ min: 0, max: 999 });
    const box = fc
      .tuple(coordinate, coordinate, coordinate, coordinate, fc.string())
      .filter(([x1, y1, x2, y2]) => x1 < x2 && y1 < y2);
    const prose = fc.string().map((s) => s.replace(/[[\]{}]/g, ''));
    fc.assert(
      fc.property(prose, fc.array(box), prose, (before, list, after) => {
        const json = JSON.stringify(
          list.map(([x1, y1, x2, y2, label]) => ({ bbox_2d: [x1, y1, x2, y2], label })),
        );
        const { boxes, dropped } = parseBoxes(before + json + after, { width: 1000, height: 1000 });
        expect(boxes.map(({ x1, y1, x2, y2, label }) => [x1, y1, x2, y2, label])).toEqual(list);
        expect(dropped).toEqual([]);
      }),
    );
  });
});

describe('geometry', () => {
  const box = (x1: number, y1: number, x2: number, y2: number) => ({ x1, y1, x2, y2, label: '' });

  it('IoU: 10 x 10 boxes sharing 5 x 10 have 50 / 150', () => {
    expect(boxIou(box(0, 0, 10, 10), box(5, 0, 15, 10))).toBeCloseTo(1 / 3, 12);
    expect(boxIou(box(0, 0, 10, 10), box(10, 0, 20, 10))).toBe(0);
    expect(boxIou(box(3, 3, 3, 3), box(3, 3, 3, 3))).toBe(0);
  });

  it('the centre may lie on the edge', () => {
    expect(centreInside(box(0, 0, 10, 10), box(5, 5, 20, 20))).toBe(true);
    expect(centreInside(box(0, 0, 10, 10), box(5.1, 5, 20, 20))).toBe(false);
  });
});
