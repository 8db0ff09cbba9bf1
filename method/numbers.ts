/** How far two numbers may differ and still agree; they agree when either limit holds. */
export type NumberRules = {
  /** Largest difference as a share of the reference (0.05 for ChartQA's relaxed accuracy). */
  relative: number;
  /** Largest difference in the reference's unit. */
  absolute: number;
};

/** Equal up to rounding of the decimal text. */
export const EXACT_NUMBERS: NumberRules = { relative: 1e-6, absolute: 1e-9 };

/** A number as written: its value, and its unit in lower case ('' where there is none, '%' for per cent with `value` as written). */
export type WrittenNumber = { value: number; unit: string };

/** Units that can be compared with one another: dimension and size in the dimension's base unit. */
const UNITS: Record<string, readonly [dimension: string, size: number]> = {
  mm: ['length', 0.001],
  cm: ['length', 0.01],
  m: ['length', 1],
  km: ['length', 1000],
  in: ['length', 0.0254],
  ft: ['length', 0.3048],
  mg: ['mass', 1e-6],
  g: ['mass', 0.001],
  kg: ['mass', 1],
  lb: ['mass', 0.45359237],
  ms: ['time', 0.001],
  s: ['time', 1],
  min: ['time', 60],
  h: ['time', 3600],
};

const UNIT_NAMES: Record<string, string> = {
  meter: 'm',
  metre: 'm',
  kilometer: 'km',
  kilometre: 'km',
  centimeter: 'cm',
  centimetre: 'cm',
  millimeter: 'mm',
  millimetre: 'mm',
  inch: 'in',
  foot: 'ft',
  gram: 'g',
  kilogram: 'kg',
  pound: 'lb',
  second: 's',
  sec: 's',
  minute: 'min',
  hour: 'h',
  percent: '%',
};
const PLURALS: Record<string, string> = { inches: 'in', feet: 'ft' };

const WORDS = [
  'zero',
  'one',
  'two',
  'three',
  'four',
  'five',
  'six',
  'seven',
  'eight',
  'nine',
  'ten',
  'eleven',
  'twelve',
  'thirteen',
  'fourteen',
  'fifteen',
  'sixteen',
  'seventeen',
  'eighteen',
  'nineteen',
  'twenty',
];

const NUMBER =
  /^([-+]?)[$€£¥]?\s*([-+]?)(?:(\d+)\s+(\d+)\s*\/\s*(\d+)|(\d[\d,]*(?:\.\d*)?|\.\d+)(e[-+]?\d+)?(?:\s*\/\s*(\d+(?:\.\d+)?))?)\s*(%|[a-z°][a-z°/]*(?:\^?[23])?)?$/;

/**
 * Reads a text that is one number: sign, thousands separators, decimals, exponent, fraction (`3/4`), mixed fraction (`1 3/4`),
 * `\frac{a}{b}`, currency sign, per cent, unit, or a number word up to twenty. `null` for anything else.
 */
export function parseNumber(text: string): WrittenNumber | null {
  if (text.length > 120) return null;
  const clean = text
    .normalize('NFKC')
    .replaceAll('−', '-')
    .replaceAll('⁄', '/')
    .replace(/\\[dt]?frac\{(\d{1,20})\}\{(\d{1,20})\}/g, '$1/$2')
    .replace(/^[\s*$`"']+/, '')
    .replace(/[\s*$`"'.]+$/, '')
    .toLowerCase();
  const word = WORDS.indexOf(clean);
  if (word >= 0) return { value: word, unit: '' };
  const match = NUMBER.exec(clean);
  if (match === null) return null;
  const [, signBefore, signAfter, whole, over, under, decimal, exponent, divisor, unit] = match;
  if (decimal?.includes(',') && !/^\d{1,3}(?:,\d{3})+(?:\.\d*)?$/.test(decimal)) return null;
  const size =
    whole !== undefined
      ? Number(whole) + Number(over) / Number(under)
      : Number(`${decimal?.replaceAll(',', '')}${exponent ?? ''}`) / Number(divisor ?? 1);
  if (!Number.isFinite(size)) return null;
  if (signBefore !== '' && signAfter !== '') return null;
  const negative = signBefore === '-' || signAfter === '-';
  return { value: negative ? -size : size, unit: unitName(unit ?? '') };
}

function unitName(written: string): string {
  const plural = PLURALS[written];
  if (plural !== undefined) return plural;
  return UNIT_NAMES[written] ?? UNIT_NAMES[written.replace(/s$/, '')] ?? written;
}

/**
 * Whether a written answer and a written reference are the same number. Units are converted where both have one of the same kind; a
 * unit that only one of them has is taken to be meant by the other. Different kinds of units, or a text that is no number, disagree.
 */
export function numbersAgree(answer: string, reference: string, rules: NumberRules = EXACT_NUMBERS): boolean {
  const given = parseNumber(answer);
  const wanted = parseNumber(reference);
  if (given === null || wanted === null) return false;
  let value = given.value;
  if (given.unit !== wanted.unit && given.unit !== '' && wanted.unit !== '') {
    const from = UNITS[given.unit];
    const to = UNITS[wanted.unit];
    if (from === undefined || to === undefined || from[0] !== to[0]) return false;
    value = (value * from[1]) / to[1];
  }
  const difference = Math.abs(value - wanted.value);
  return difference <= rules.absolute || difference <= rules.relative * Math.abs(wanted.value);
}
