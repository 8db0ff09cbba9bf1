/** Options as the published files write them. */

/** Options written into a question, one a line: `(A) red` or `A. red`, from A on without a gap. Empty when there are none. */
export function optionsInText(text: string): { stem: string; options: string[] } {
  const lines = text.split('\n');
  const options: string[] = [];
  let first = lines.length;
  for (const [index, line] of lines.entries()) {
    const match = /^\s*(?:\(([A-Z])\)|([A-Z])[.:)])\s*(.*?)\s*$/.exec(line);
    const letter = match?.[1] ?? match?.[2];
    if (letter === undefined) continue;
    if (letter.charCodeAt(0) - 65 !== options.length) return { stem: text.trim(), options: [] };
    if (options.length === 0) first = index;
    options.push(match?.[3] ?? '');
  }
  if (options.length < 2) return { stem: text.trim(), options: [] };
  const stem = lines
    .slice(0, first)
    .join('\n')
    .replace(/\n\s*Options:\s*$/i, '');
  return { stem: stem.trim(), options };
}

/** `(A) red` -> `red`. */
export function withoutLetter(option: string): string {
  return option.replace(/^\s*\(?[A-Z][).:]\s*/, '');
}

/**
 * A Python list of strings as `repr` writes it: `['a', "it's"]`, with backslash escapes. `null` for anything else: nothing is evaluated.
 */
export function pythonStrings(text: string): string[] | null {
  const source = text.trim();
  if (!source.startsWith('[') || !source.endsWith(']')) return null;
  const items: string[] = [];
  let at = 1;
  const skip = () => {
    while (/\s/.test(source[at] ?? '')) at++;
  };
  for (;;) {
    skip();
    if (source[at] === ']') return at === source.length - 1 ? items : null;
    const quote = source[at];
    if (quote !== "'" && quote !== '"') return null;
    at++;
    let item = '';
    for (;;) {
      const character = source[at];
      if (character === undefined) return null;
      at++;
      if (character === quote) break;
      if (character !== '\\') {
        item += character;
        continue;
      }
      const escaped = source[at] ?? '';
      at++;
      const digits = { x: 2, u: 4, U: 8 }[escaped];
      if (digits !== undefined) {
        const code = source.slice(at, at + digits);
        if (!/^[0-9a-fA-F]+$/.test(code) || code.length < digits) return null;
        item += String.fromCodePoint(Number.parseInt(code, 16));
        at += digits;
      } else item += { n: '\n', t: '\t', r: '\r' }[escaped] ?? escaped;
    }
    items.push(item);
    skip();
    if (source[at] === ',') at++;
    else if (source[at] !== ']') return null;
  }
}
