import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type AnswerSample, EXTRACTORS, type ExtractorName, extractAnswer, isCorrect } from './answers.ts';
import table from './fixtures/extraction-table.json' with { type: 'json' };

const FOUR: AnswerSample = { form: 'choice', options: ['blue', 'green', 'red', 'black'] };

describe('the published extractors', () => {
  for (const [column, name] of table.columns.entries()) {
    it(`${name} reads what its published code reads`, () => {
      const read = table.rows.map(([text]) => extractAnswer(name as ExtractorName, text ?? '', FOUR).answer);
      expect(read).toEqual(table.rows.map((row) => row[column + 1]));
    });
  }

  it('p2r@1 reads what a person would', () => {
    const read = table.rows.map(([text]) => extractAnswer('p2r@1', text ?? '', FOUR).answer);
    expect(read).toEqual(table['p2r@1']);
  });
});

describe('p2r@1', () => {
  const letter = (text: string, options = FOUR.options) =>
    extractAnswer('p2r@1', text, { form: 'choice', options });

  it.each([
    ['The red circle shows the letter K. The answer is (B).', 'B'],
    ['<answer>B</answer>', 'B'],
    ['<answer>A</answer> wait <answer>C</answer>', 'C'],
    ['<answer>(D) black', 'D'],
    ['First I thought the answer is (A). But no: the answer is (B).', 'B'],
    ['The correct answer is (B), not (C).', 'B'],
    ['Compare (A) with (D).\nSo (D)', 'D'],
    ['This matches option C.', 'C'],
    ['Therefore, the sail is red.', 'C'],
    ['It is not blue.\nIt is green.', 'B'],
    ['The answer is a person.', null],
    ['', null],
  ])('%j is %j', (text, wanted) => {
    expect(letter(text).answer).toBe(wanted);
  });

  it('prefers the longer of two options that contain one another', () => {
    expect(letter('It is in the upper left area.', ['left', 'upper left', 'right']).answer).toBe('B');
  });

  it('ignores letters beyond the options', () => {
    expect(letter('The answer is (E).').answer).toBeNull();
  });

  it.each([
    ['There are three, so the answer is 3.', '3'],
    ['<answer>1,234</answer>', '1,234'],
    ['\\boxed{42}', '42'],
    ['I count 2 cats and 5 dogs, 7 animals.', '7'],
    ['none', null],
  ])('number: %j is %j', (text, wanted) => {
    expect(extractAnswer('p2r@1', text, { form: 'number' }).answer).toBe(wanted);
  });
});

describe('every extractor', () => {
  it('takes any text', () => {
    const piece = fc.constantFrom(
      '<answer>',
      '</answer>',
      '(A)',
      'answer is ',
      '\\boxed{',
      '}',
      '**',
      'B',
      '\n',
      ' ',
      'the ',
      '12',
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.array(piece).map((p) => p.join('')),
        ),
        (text) => {
          for (const name of Object.keys(EXTRACTORS) as ExtractorName[]) {
            for (const form of ['choice', 'number', 'text'] as const) {
              const { answer } = extractAnswer(name, text, { form, options: ['x', 'y', 'z'] });
              if (form === 'choice' && name === 'p2r@1') expect([null, 'A', 'B', 'C']).toContain(answer);
            }
          }
        },
      ),
      { numRuns: 2000 },
    );
  });
});

describe('isCorrect (eq. 3)', () => {
  it('compares letters, also with a reference written as an option', () => {
    expect(isCorrect('b', '(B)', FOUR)).toBe(true);
    expect(isCorrect('C', 'red', FOUR)).toBe(true);
    expect(isCorrect('A', 'B', FOUR)).toBe(false);
    expect(isCorrect(null, 'B', FOUR)).toBe(false);
  });

  it('compares numbers with units, fractions and tolerances', () => {
    const number: AnswerSample = { form: 'number' };
    expect(isCorrect('1,000', '1000', number)).toBe(true);
    expect(isCorrect('3/4', '0.75', number)).toBe(true);
    expect(isCorrect('1.5 km', '1500 m', number)).toBe(true);
    expect(isCorrect('50%', '50', number)).toBe(true);
    expect(isCorrect('5 kg', '5 m', number)).toBe(false);
    expect(isCorrect('10.4', '10', number)).toBe(false);
    expect(isCorrect('10.4', '10', number, { relative: 0.05, absolute: 0 })).toBe(true);
  });

  it('compares free text without case, articles and punctuation', () => {
    expect(isCorrect('The Red  car.', 'red car', { form: 'text' })).toBe(true);
    expect(isCorrect('red bus', 'red car', { form: 'text' })).toBe(false);
  });
});
