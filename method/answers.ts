import { type NumberRules, numbersAgree, parseNumber } from './numbers.ts';
import type { AnswerForm } from './prompts.ts';

/** What an extractor needs to know of a question. `options[0]` has the letter A. */
export type AnswerSample = { form: AnswerForm; options?: readonly string[] };

/**
 * What was read from a text, and by which rule. `answer` is an option's letter, the text of a number, or free text; `null` where
 * nothing could be read. The raw text is kept by the caller, so that another extractor can read it again without inference.
 */
export type ExtractedAnswer = { answer: string | null; how: string };

/**
 * The named extractors. A change of behaviour is a new version.
 * - `p2r@1`: the project's default. The last `<answer>`, else the last stated answer, else the last option named.
 * - `strict@1`: the first `<answer>` and nothing else: what the authors' evaluation counts.
 * - `authors@1`: the first `<answer>` or else the whole text, phrases removed, first capital letter: the authors' training reward.
 * - `mme-official@1`, `vlmevalkit-can-infer@1`, `lmms-vstar@1`: the published evaluators' behaviour, mistakes included.
 */
export const EXTRACTORS = {
  'p2r@1': p2r,
  'strict@1': strict,
  'authors@1': authors,
  'mme-official@1': mmeOfficial,
  'vlmevalkit-can-infer@1': canInfer,
  'lmms-vstar@1': lmmsVstar,
} as const satisfies Record<string, (text: string, sample: AnswerSample) => ExtractedAnswer>;

/** Name and version of an extractor. */
export type ExtractorName = keyof typeof EXTRACTORS;

/** Reads the answer out of what the model wrote. Never throws; time is linear in the text. */
export function extractAnswer(extractor: ExtractorName, text: string, sample: AnswerSample): ExtractedAnswer {
  return EXTRACTORS[extractor](text, sample);
}

/**
 * Whether an extracted answer equals the reference: the indicator of the paper's eq. 3.
 *
 * Letters are compared without case (a reference may also be an option's text); numbers by `numbersAgree`; text without case,
 * punctuation at the ends, articles and repeated spaces. Text that differs may still be right: that is for the judge (`judge.ts`).
 */
export function isCorrect(
  answer: string | null,
  reference: string,
  sample: AnswerSample,
  rules?: NumberRules,
): boolean {
  if (answer === null) return false;
  if (sample.form === 'choice') {
    const letter = letterOf(reference, sample) ?? reference.trim().toUpperCase();
    return answer.trim().toUpperCase() === letter;
  }
  if (sample.form === 'number') return numbersAgree(answer, reference, rules);
  return normaliseText(answer) === normaliseText(reference);
}

/** The letter of a reference given as a letter, `(B)`, `B.` or an option's text; `null` when it is none of them. */
function letterOf(reference: string, sample: AnswerSample): string | null {
  const text = reference.trim();
  const letter = /^\(?([A-Za-z])[).:]?$/.exec(text)?.[1];
  if (letter !== undefined) return letter.toUpperCase();
  const index = (sample.options ?? []).findIndex((option) => normaliseText(option) === normaliseText(text));
  return index < 0 ? null : letterAt(index);
}

/** Lower case, without articles, repeated spaces and punctuation at the ends: how free text is compared. */
export function normaliseText(text: string): string {
  return text
    .normalize('NFKC')
    .toLowerCase()
    .replace(/\b(?:a|an|the)\b/g, ' ')
    .replace(/\s+/g, ' ')
    .replace(/^[\s"'`*.,;:!?()]+/, '')
    .trimEnd()
    .replace(/["'`*.,;:!?()\s]{0,32}$/, '');
}

/** 0 -> A. */
export function letterAt(index: number): string {
  return String.fromCharCode(65 + index);
}

/** Number of letters that can be an answer. Without options, A to F. */
function letterCount(sample: AnswerSample, fallback: number): number {
  return Math.min(26, Math.max(2, sample.options?.length ?? fallback));
}

function letterClass(count: number): string {
  return `[A-${letterAt(count - 1)}]`;
}

const NONE: ExtractedAnswer = { answer: null, how: 'none' };

/** Contents of the first or the last `<answer>`, in one pass. An unclosed tag counts to the end of the text only when `open` is set. */
function tagged(text: string, which: 'first' | 'last', open = false): string | null {
  let found: string | null = null;
  let from = 0;
  for (;;) {
    const start = text.indexOf('<answer>', from);
    if (start < 0) return found;
    const end = text.indexOf('</answer>', start);
    if (end < 0) return open && found === null ? text.slice(start + 8).trim() : found;
    found = text.slice(start + 8, end).trim();
    if (which === 'first') return found;
    from = end + 9;
  }
}

function p2r(text: string, sample: AnswerSample): ExtractedAnswer {
  const inTag = tagged(text, 'last', true);
  if (inTag !== null) {
    const read = p2rRead(inTag, sample, true);
    return read.answer === null ? { answer: null, how: 'empty_tag' } : { ...read, how: `tag:${read.how}` };
  }
  const thought = text.lastIndexOf('</think>');
  return p2rRead(thought < 0 ? text : text.slice(thought + 8), sample, false);
}

function p2rRead(text: string, sample: AnswerSample, alone: boolean): ExtractedAnswer {
  if (sample.form === 'choice') return p2rLetter(text, sample);
  const boxed = lastBoxed(text);
  if (boxed !== null) return { answer: boxed, how: 'boxed' };
  if (sample.form === 'number') return p2rNumber(text, alone);
  if (alone) return text === '' ? NONE : { answer: text, how: 'whole' };
  const stated = lastMatch(text, /\b(?:answer|result)(?: is|:|=)[ \t*]*([^\n]+)/gi);
  if (stated !== null) return { answer: stated.replace(/[*\s]+$/, '').replace(/\.$/, ''), how: 'stated' };
  const whole = text.trim();
  return whole === '' ? NONE : { answer: whole, how: 'whole' };
}

function p2rLetter(raw: string, sample: AnswerSample): ExtractedAnswer {
  const count = letterCount(sample, 6);
  const upper = letterClass(count);
  const text = raw.replaceAll('**', '').replaceAll('__', '');
  const letter = lastMatch(text, new RegExp(`\\\\boxed\\{\\s*(?:\\\\text\\{)?\\(?(${upper})\\b`, 'g'));
  if (letter !== null) return { answer: letter, how: 'boxed' };
  const whole = new RegExp(`^\\s*[("']?(${upper})[)"'.:]?\\s*$`, 'i').exec(text)?.[1];
  if (whole !== undefined) return { answer: whole.toUpperCase(), how: 'letter' };
  const stated = lastMatch(
    text,
    new RegExp(
      `\\b(?:answer|option|choice)(?:\\s+(?:is|would be|should be|must be))?\\s*:?\\s*(?:option\\s+|choice\\s+)?(?:\\((${upper})\\)|(${upper})(?![\\w'’]|\\s+[a-z]))`,
      'gi',
    ),
    upper,
  );
  if (stated !== null) return { answer: stated, how: 'stated' };
  const bracketed = lastMatch(text, new RegExp(`\\((${upper})\\)`, 'g'));
  if (bracketed !== null) return { answer: bracketed, how: 'bracketed' };
  const leading = new RegExp(`^\\s*(${upper})[.):]\\s`).exec(text)?.[1];
  if (leading !== undefined) return { answer: leading, how: 'leading' };
  return optionNamed(text, sample.options ?? []);
}

/** The option whose text the last line (else the whole text) names, when it is the only one. */
function optionNamed(text: string, options: readonly string[]): ExtractedAnswer {
  const wanted = options.map(normaliseText);
  const lines = text.trimEnd().split('\n');
  const last = normaliseText(lines.at(-1) ?? '');
  for (const [where, how] of [
    [last, 'option_last_line'],
    [normaliseText(text), 'option_text'],
  ] as const) {
    const named = wanted.flatMap((option, index) =>
      option !== '' && hasPhrase(where, option) ? [index] : [],
    );
    // "left" also stands in "upper left": the longer option is the one that was meant.
    const longest = named.filter(
      (index) =>
        !named.some((other) => other !== index && hasPhrase(wanted[other] ?? '', wanted[index] ?? '')),
    );
    const [only] = longest;
    if (longest.length === 1 && only !== undefined) return { answer: letterAt(only), how };
  }
  return NONE;
}

/** Whether a phrase stands in a text as whole words. */
function hasPhrase(text: string, phrase: string): boolean {
  let from = 0;
  for (;;) {
    const at = text.indexOf(phrase, from);
    if (at < 0) return false;
    const before = text[at - 1] ?? ' ';
    const after = text[at + phrase.length] ?? ' ';
    if (!/[\p{L}\p{N}]/u.test(before) && !/[\p{L}\p{N}]/u.test(after)) return true;
    from = at + 1;
  }
}

function p2rNumber(text: string, alone: boolean): ExtractedAnswer {
  if (alone && parseNumber(text) !== null) return { answer: text, how: 'whole' };
  const stated = lastMatch(text, /\b(?:answer|result|total)(?: is|:|=)[ \t*$]*([^\n]+)/gi);
  if (stated !== null) {
    const first = NUMBER_TEXT.exec(stated)?.[0];
    if (first !== undefined) return { answer: first.trim(), how: 'stated' };
  }
  if (parseNumber(text) !== null) return { answer: text.trim(), how: 'whole' };
  const last = lastMatch(text, new RegExp(`(${NUMBER_TEXT.source})`, 'g'));
  return last === null ? NONE : { answer: last.trim(), how: 'last_number' };
}

/** A number in running text with a sign, thousands, a fraction, and a percent sign or a short unit after it. */
const NUMBER_TEXT =
  /[-−+]?\d[\d,]*(?:\.\d+)?(?:[eE][-+]?\d+)?(?:\s*\/\s*\d+)?(?:\s*%|\s?(?:km|cm|mm|m|kg|g|mg|s|ms|min|h)\b)?/;

function lastBoxed(text: string): string | null {
  const start = text.lastIndexOf('\\boxed{');
  if (start < 0) return null;
  const end = text.indexOf('}', start);
  return end < 0 ? null : text.slice(start + 7, end).trim();
}

/** First group (of those that took part) of the last match, upper-cased where it must fit `letter`. */
function lastMatch(text: string, pattern: RegExp, letter?: string): string | null {
  let last: string | null = null;
  for (const match of text.matchAll(pattern)) {
    const group = match.slice(1).find((part) => part !== undefined);
    if (group === undefined) continue;
    // Phrases match without case, letters do not: "answer is a dog" names no option.
    if (letter !== undefined && !new RegExp(`^${letter}$`).test(group)) continue;
    last = group;
  }
  return last;
}

function strict(text: string, sample: AnswerSample): ExtractedAnswer {
  const answer = tagged(text, 'first');
  if (answer === null || answer === '') return { answer: null, how: 'no_tag' };
  if (sample.form !== 'choice') return { answer, how: 'tag' };
  return firstCapital(answer, letterCount(sample, 4));
}

function authors(text: string, sample: AnswerSample): ExtractedAnswer {
  const answer = tagged(text, 'first') ?? text.trim();
  if (sample.form !== 'choice') return answer === '' ? NONE : { answer, how: 'tag_or_text' };
  return firstCapital(answer, letterCount(sample, 5));
}

/** Removed, in this order, before the first capital is looked for. */
const AUTHORS_PHRASES = [
  'The best answer is',
  'The correct answer is',
  'The answer is',
  'The answer',
  'The best option is',
  'The correct option is',
  'Best answer:',
  'Best option:',
  'Answer:',
  'Option:',
  'The correct answer',
  'The correct option',
];

function firstCapital(text: string, count: number): ExtractedAnswer {
  let rest = text.trim();
  for (const phrase of AUTHORS_PHRASES) rest = rest.replaceAll(phrase, '');
  const letter = new RegExp(letterClass(count)).exec(rest)?.[0];
  return letter === undefined ? NONE : { answer: letter, how: 'first_capital' };
}

/** Two commas are missing in the published list, which joins its last phrases into two that never occur. */
const MME_PHRASES = [
  'The best answer is',
  'The correct answer is',
  'The answer is',
  'The answer',
  'The best option isThe correct option is',
  'Best answer:Best option:',
];

function mmeOfficial(text: string, sample: AnswerSample): ExtractedAnswer {
  let rest = text.trim();
  for (const phrase of MME_PHRASES) rest = rest.replaceAll(phrase, '');
  const letter = /[ABCDE]/.exec(rest)?.[0];
  if (letter !== undefined) return { answer: letter, how: 'first_capital' };
  if (rest.split(/\s+/).filter(Boolean).length > 10) return NONE;
  const wanted = rest.toLowerCase();
  const options = (sample.options ?? []).map((option, index) => `(${letterAt(index)}) ${option}`);
  const index = options.findIndex((option) => option.toLowerCase().includes(wanted));
  return index < 0 ? NONE : { answer: letterAt(index), how: 'inside_option' };
}

const REFUSALS = [
  "Sorry, I can't help with images of people yet.",
  "I can't process this file.",
  "I'm sorry, but without the image provided",
  'Cannot determine the answer',
];

function canInfer(text: string, sample: AnswerSample): ExtractedAnswer {
  if (REFUSALS.some((refusal) => text.includes(refusal))) return { answer: null, how: 'refused' };
  const options = sample.options ?? [];
  const letters = Array.from({ length: letterCount(sample, 4) }, (_, index) => letterAt(index));
  const words = new Set(
    text
      .replace(/[.()[\],:;!*#{}]/g, ' ')
      .split(/\s+/)
      .filter(Boolean),
  );
  const named = letters.filter((letter) => words.has(letter));
  const [only] = named;
  if (named.length === 1 && only !== undefined) return { answer: only, how: 'single_letter' };
  if (named.length === 0 && words.has('Z')) return { answer: null, how: 'refused' };
  if (text.length > 2 * options.reduce((sum, option) => sum + option.length, 0)) return NONE;
  const lower = text.toLowerCase();
  const texts = options.flatMap((option, index) => (lower.includes(option.toLowerCase()) ? [index] : []));
  const [index] = texts;
  return texts.length === 1 && index !== undefined ? { answer: letterAt(index), how: 'single_option' } : NONE;
}

/** The published patterns in their order, on the text in capitals. */
const LMMS_PATTERNS = [
  /^([A-D])\s*[.)\]]*/,
  /(?:THE\s+)?(?:ANSWER|CHOICE|OPTION)(?:\s+IS)?[\s:]+([A-D])/,
  /\(([A-D])\)/,
  /([A-D])\s*(?:\.|\)|\])/,
  /(?:^|\s)([A-D])(?:\s|$)/,
];

function lmmsVstar(text: string): ExtractedAnswer {
  const upper = text.trim().toUpperCase();
  for (const [index, pattern] of LMMS_PATTERNS.entries()) {
    const letter = pattern.exec(upper)?.[1];
    if (letter !== undefined) return { answer: letter, how: `pattern_${index + 1}` };
  }
  const letters = upper.match(/[A-D]/g) ?? [];
  const [only] = letters;
  return letters.length === 1 && only !== undefined ? { answer: only, how: 'only_capital' } : NONE;
}
