/** Tables as Markdown, CSV and LaTeX. Published numbers carry a dagger in each. */
import type { Cell, Table } from './tables.ts';

export const RENDERERS = { markdown, csv, latex, json } as const;

/** Name of a renderer. */
export type ReportFormat = keyof typeof RENDERERS;

const DAGGER_NOTE = 'published in the paper, not measured here; brackets: 95 % interval; n: questions';

function plainCell(cell: Cell, source: 'ours' | 'published', mark: string): string {
  if (cell === null) return '-';
  if ('missing' in cell) return `incomplete (${cell.missing} missing)`;
  const value = cell.value.toFixed(1);
  if (source === 'published') return `${value}${mark}`;
  return cell.interval === undefined
    ? value
    : `${value} [${cell.interval[0].toFixed(1)}, ${cell.interval[1].toFixed(1)}]`;
}

const escapedMarkdown = (text: string) => text.replace(/[|\\`*_<>[\]]/g, (character) => `\\${character}`);

function markdown(table: Table): string {
  const line = (cells: string[]) => `| ${cells.join(' | ')} |`;
  return [
    `### ${table.title}`,
    '',
    line(['', ...table.columns]),
    line(['---', ...table.columns.map(() => '---:')]),
    ...table.rows.map(({ label, source, cells }) =>
      line([escapedMarkdown(label), ...cells.map((cell) => plainCell(cell, source, '†'))]),
    ),
    '',
    `† ${DAGGER_NOTE}.`,
    '',
  ].join('\n');
}

/** A cell of CSV. Text that a spreadsheet would take for a formula gets an apostrophe. */
function quoted(value: string | number): string {
  const text = String(value);
  const safe = typeof value === 'string' && /^[=+\-@]/.test(text) ? `'${text}` : text;
  return /[",\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

function csv(table: Table): string {
  const rows = table.rows.flatMap(({ label, source, cells }) =>
    cells.flatMap((cell, index) => {
      const column = table.columns[index] ?? '';
      if (cell === null) return [];
      if ('missing' in cell) return [[table.id, label, source, column, '', '', '', '', cell.missing]];
      const { value, interval, count } = cell;
      return [
        [table.id, label, source, column, value, interval?.[0] ?? '', interval?.[1] ?? '', count ?? '', 0],
      ];
    }),
  );
  return [['table', 'row', 'source', 'column', 'value', 'low', 'high', 'n', 'missing'], ...rows]
    .map((row) => `${row.map(quoted).join(',')}\n`)
    .join('');
}

const LATEX: Record<string, string> = {
  '\\': '\\textbackslash{}',
  '~': '\\textasciitilde{}',
  '^': '\\textasciicircum{}',
};
const escapedLatex = (text: string) =>
  text.replace(/[\\~^&%$#_{}]/g, (character) => LATEX[character] ?? `\\${character}`);

function latex(table: Table): string {
  const line = (cells: string[]) => `${cells.join(' & ')} \\\\`;
  const ours = table.rows.filter(({ source }) => source === 'ours');
  const theirs = table.rows.filter(({ source }) => source === 'published');
  const lines = (rows: typeof ours) =>
    rows.map(({ label, source, cells }) =>
      line([escapedLatex(label), ...cells.map((cell) => plainCell(cell, source, '$^\\dagger$'))]),
    );
  return [
    '% needs \\usepackage{booktabs}',
    `\\begin{tabular}{l${'r'.repeat(table.columns.length)}}`,
    '\\toprule',
    line(['', ...table.columns.map(escapedLatex)]),
    '\\midrule',
    ...lines(theirs),
    ...(theirs.length > 0 && ours.length > 0 ? ['\\midrule'] : []),
    ...lines(ours),
    '\\bottomrule',
    '\\end{tabular}',
    `% ${escapedLatex(table.title)}. $^\\dagger$ ${escapedLatex(DAGGER_NOTE)}`,
    '',
  ].join('\n');
}

function json(table: Table): string {
  return `${JSON.stringify(table, null, 2)}\n`;
}
