/**
 * A figure once, in two forms: plotly's, for viewers with scripts, and a plain SVG for those without. Both are made of the same numbers.
 */

/** A line or a set of points; `low` and `high` are the ends of intervals. Series of one name share a place in the legend. */
export type Series = {
  name: string;
  x: number[];
  y: (number | null)[];
  low?: number[];
  high?: number[];
  mode: 'lines' | 'markers' | 'lines+markers';
  dash?: boolean;
  colour?: string;
};

/** A figure with one x and one y axis. `ticks` names places on the x axis; `bands` shade phases. */
export type Figure = {
  title: string;
  x: string;
  y: string;
  percent?: boolean;
  series: Series[];
  ticks?: { at: number; text: string }[];
  bands?: { from: number; to: number; text: string; colour: string }[];
};

/** Okabe and Ito's colours: told apart with any colour vision. */
export const COLOURS = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#8a6d00', '#56b4e9', '#555555'];

/** Colours of the roles, as on the dashboard. */
export const ROLE_COLOURS: Record<string, string> = {
  perceiver: '#0072b2',
  reasoner: '#d55e00',
  direct: '#555555',
};

/** The series with their colours, and whether each is the first of its name. */
const drawnSeries = ({ series }: Figure) =>
  series.map((one, index) => ({
    ...one,
    colour: one.colour ?? COLOURS[index % COLOURS.length] ?? '#555555',
    isNamed: series.findIndex(({ name }) => name === one.name) === index,
  }));

/** The figure for plotly: `data` and `layout`. */
export function plotlyOf(figure: Figure): { data: object[]; layout: object } {
  return {
    data: drawnSeries(figure).map(({ low, high, dash, colour, isNamed, ...series }) => ({
      type: 'scatter',
      ...series,
      legendgroup: series.name,
      showlegend: isNamed,
      line: { color: colour, dash: dash ? 'dash' : 'solid' },
      marker: { color: colour, size: 7 },
      ...(low !== undefined &&
        high !== undefined && {
          error_y: {
            type: 'data',
            symmetric: false,
            array: high.map((end, n) => end - (series.y[n] ?? end)),
            arrayminus: low.map((end, n) => (series.y[n] ?? end) - end),
            thickness: 1,
          },
        }),
    })),
    layout: {
      title: { text: figure.title, font: { size: 15 } },
      width: WIDTH,
      height: HEIGHT,
      margin: { l: 60, r: 20, t: 40, b: 60 },
      xaxis: {
        title: { text: figure.x },
        zeroline: false,
        ...(figure.ticks && {
          tickvals: figure.ticks.map(({ at }) => at),
          ticktext: figure.ticks.map(({ text }) => text),
        }),
      },
      yaxis: { title: { text: figure.y }, zeroline: false, ...(figure.percent && { tickformat: '.0%' }) },
      legend: { orientation: 'h', y: -0.25 },
      shapes: (figure.bands ?? []).map(({ from, to, colour }) => ({
        type: 'rect',
        layer: 'below',
        xref: 'x',
        yref: 'paper',
        x0: from,
        x1: to,
        y0: 0,
        y1: 1,
        line: { width: 0 },
        fillcolor: colour,
        opacity: 0.1,
      })),
    },
  };
}

const WIDTH = 680;
const HEIGHT = 380;
const FRAME = { left: 62, right: 16, top: 40, bottom: 84 };

const escaped = (text: string) =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');

/** Round numbers that cover [low, high] in about `count` steps. */
export function roundTicks(low: number, high: number, count: number): number[] {
  const span = Math.max(high - low, 1e-9);
  const power = 10 ** Math.floor(Math.log10(span / count));
  const step =
    [1, 2, 5, 10].map((factor) => factor * power).find((size) => span / size <= count) ?? power * 10;
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, n) => Number(((first + n) * step).toPrecision(12)));
}

/** The figure as SVG text, complete in itself: no script, no style sheet, no font of its own. */
export function svgOf(figure: Figure): string {
  const xs = figure.series.flatMap(({ x }) => x);
  const ys = figure.series
    .flatMap(({ y, low = [], high = [] }) => [...y, ...low, ...high])
    .filter((y) => y !== null);
  const [xLow, xHigh] = padded(Math.min(...xs), Math.max(...xs), figure.ticks === undefined ? 0.03 : 0.1);
  const [yLow, yHigh] = padded(Math.min(0, ...ys), Math.max(...ys), 0.05);
  const px = (x: number) =>
    Number((FRAME.left + ((x - xLow) / (xHigh - xLow)) * (WIDTH - FRAME.left - FRAME.right)).toFixed(1));
  const py = (y: number) =>
    Number(
      (HEIGHT - FRAME.bottom - ((y - yLow) / (yHigh - yLow)) * (HEIGHT - FRAME.top - FRAME.bottom)).toFixed(
        1,
      ),
    );
  const floor = HEIGHT - FRAME.bottom;
  const parts: string[] = [];
  for (const { from, to, colour, text } of figure.bands ?? []) {
    const [left, right] = [px(Math.max(from, xLow)), px(Math.min(to, xHigh))];
    parts.push(
      `<rect x="${left}" y="${FRAME.top}" width="${right - left}" height="${floor - FRAME.top}" fill="${colour}" opacity="0.1"/>`,
      `<text x="${(left + right) / 2}" y="${FRAME.top - 4}" text-anchor="middle" font-size="10">${escaped(text)}</text>`,
    );
  }
  for (const tick of roundTicks(yLow, yHigh, 6)) {
    const label = figure.percent ? `${Math.round(tick * 100)} %` : String(tick);
    parts.push(
      `<line x1="${FRAME.left}" x2="${WIDTH - FRAME.right}" y1="${py(tick)}" y2="${py(tick)}" stroke="#dddddd"/>`,
      `<text x="${FRAME.left - 6}" y="${py(tick) + 4}" text-anchor="end" font-size="11">${label}</text>`,
    );
  }
  const ticks = figure.ticks ?? roundTicks(xLow, xHigh, 8).map((at) => ({ at, text: String(at) }));
  // Names that would touch each other are written aslant.
  const room = (WIDTH - FRAME.left - FRAME.right) / ticks.length;
  const aslant = ticks.some(({ text }) => text.length * 6.2 > room);
  for (const { at, text } of ticks)
    parts.push(
      aslant
        ? `<text transform="translate(${px(at) + 4} ${floor + 14}) rotate(-28)" text-anchor="end" font-size="11">${escaped(text)}</text>`
        : `<text x="${px(at)}" y="${floor + 16}" text-anchor="middle" font-size="11">${escaped(text)}</text>`,
    );
  const series = drawnSeries(figure);
  for (const one of series) parts.push(...seriesParts(one, px, py));
  const named = series.filter(({ isNamed }) => isNamed);
  const across = named.some(({ name }) => name.length > 30) ? 2 : 3;
  const legend = HEIGHT - (aslant ? 8 : 30);
  for (const [index, { name, colour, dash }] of named.entries()) {
    const x = FRAME.left + (index % across) * (600 / across);
    const y = legend + Math.floor(index / across) * 16;
    parts.push(
      `<line x1="${x}" x2="${x + 18}" y1="${y - 4}" y2="${y - 4}" stroke="${colour}" stroke-width="3"${dashes(dash)}/>`,
      `<text x="${x + 24}" y="${y}" font-size="11">${escaped(name)}</text>`,
    );
  }
  const height = Math.max(HEIGHT, legend + Math.ceil(named.length / across) * 16);
  const title = `<text x="${FRAME.left}" y="18" font-size="14" font-weight="bold">${escaped(figure.title)}</text>`;
  const axes = `<text x="${(FRAME.left + WIDTH) / 2}" y="${floor + (aslant ? 52 : 36)}" text-anchor="middle" font-size="12">${escaped(figure.x)}</text><text transform="translate(14 ${(FRAME.top + floor) / 2}) rotate(-90)" text-anchor="middle" font-size="12">${escaped(figure.y)}</text>`;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" font-family="sans-serif" fill="#1b1f24" role="img" aria-label="${escaped(figure.title)}"><rect width="${WIDTH}" height="${height}" fill="#ffffff"/>${title}${parts.join('')}${axes}</svg>`;
}

function padded(low: number, high: number, share: number): [number, number] {
  const span = high > low ? high - low : 1;
  return [low - span * share, high + span * share];
}

const dashes = (dash = false) => (dash ? ' stroke-dasharray="6 4"' : '');

function seriesParts(
  { colour, ...series }: Series & { colour: string },
  px: (x: number) => number,
  py: (y: number) => number,
): string[] {
  const parts: string[] = [];
  const points = series.x.flatMap((x, n) => {
    const y = series.y[n];
    return y === null || y === undefined ? [] : [{ x, y, low: series.low?.[n], high: series.high?.[n] }];
  });
  if (series.mode !== 'markers')
    parts.push(
      `<polyline fill="none" stroke="${colour}" stroke-width="2"${dashes(series.dash)} points="${points.map(({ x, y }) => `${px(x)},${py(y)}`).join(' ')}"/>`,
    );
  for (const { x, y, low, high } of points) {
    if (low !== undefined && high !== undefined)
      parts.push(`<line x1="${px(x)}" x2="${px(x)}" y1="${py(low)}" y2="${py(high)}" stroke="${colour}"/>`);
    if (series.mode !== 'lines') parts.push(`<circle cx="${px(x)}" cy="${py(y)}" r="3.5" fill="${colour}"/>`);
  }
  return parts;
}
