/**
 * Showing things in a cell. Everything is shown by an awaited call: a cell's last expression, and a line printed at its end, may reach the
 * notebook after the cell has ended, and are then lost.
 */
import { type Figure, plotlyOf, svgOf } from './figure.ts';

declare const Deno: {
  jupyter: { display(bundle: Record<string, unknown>, options: { raw: true }): Promise<void> };
};

/** Shows a figure: interactive where the viewer can, as SVG everywhere else. */
export async function show(figure: Figure): Promise<void> {
  await Deno.jupyter.display(
    { 'application/vnd.plotly.v1+json': plotlyOf(figure), 'image/svg+xml': svgOf(figure) },
    { raw: true },
  );
}

/** Shows a line of text. */
export async function say(text: string): Promise<void> {
  await Deno.jupyter.display({ 'text/plain': text }, { raw: true });
}

/** Shows rows as a table; its columns are the rows' keys. Cells are text, never HTML. */
export async function table(
  caption: string,
  rows: readonly Record<string, string | number | null>[],
): Promise<void> {
  const columns = [...new Set(rows.flatMap(Object.keys))];
  const cell = (value: string | number | null | undefined) =>
    String(value ?? '–')
      .replaceAll('&', '&amp;')
      .replaceAll('<', '&lt;');
  const html = `<table><caption>${cell(caption)}</caption><thead><tr>${columns.map((name) => `<th>${cell(name)}</th>`).join('')}</tr></thead><tbody>${rows
    .map((row) => `<tr>${columns.map((name) => `<td>${cell(row[name])}</td>`).join('')}</tr>`)
    .join('')}</tbody></table>`;
  const text = [
    caption,
    columns.join('\t'),
    ...rows.map((row) => columns.map((name) => row[name] ?? '–').join('\t')),
  ];
  await Deno.jupyter.display({ 'text/html': html, 'text/plain': text.join('\n') }, { raw: true });
}

/** "52.1 %" */
export const percent = (share: number | null | undefined): string =>
  share === null || share === undefined ? '–' : `${(share * 100).toFixed(1)} %`;

/** "0.42" */
export const digits = (value: number | null | undefined, places = 2): string =>
  value === null || value === undefined ? '–' : value.toFixed(places);
