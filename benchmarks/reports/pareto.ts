/** Accuracy against throughput (Figure 11), as data and as an SVG picture. */
import type { Table } from './tables.ts';

/** One point. `throughput`: questions a second that the slots allow at the mean time an answer kept a slot; rates in 0 to 1. */
export type ParetoPoint = {
  label: string;
  accuracy: number;
  interval: [number, number];
  throughput: number;
  callsPerQuestion: number;
  tokensPerQuestion: number;
};

const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [720, 440, 70, 190, 40, 60];

const escaped = (text: string) => text.replace(/[<>&"']/g, (character) => `&#${character.charCodeAt(0)};`);

/**
 * Points of one label over several benchmarks as one: mean accuracy (its interval from the single ones, taken as independent), and the
 * throughput of all their questions together.
 */
export function averaged(points: readonly (ParetoPoint & { questions: number })[]): ParetoPoint[] {
  return [...Map.groupBy(points, ({ label }) => label)].map(([label, group]) => {
    const mean = (value: (point: ParetoPoint) => number) =>
      group.reduce((sum, point) => sum + value(point), 0) / group.length;
    const questions = group.reduce((sum, point) => sum + point.questions, 0);
    const weighted = (value: (point: ParetoPoint) => number) =>
      group.reduce((sum, point) => sum + value(point) * point.questions, 0) / questions;
    const accuracy = mean((point) => point.accuracy);
    const spread = (end: 0 | 1) =>
      Math.sqrt(group.reduce((sum, point) => sum + (point.interval[end] - point.accuracy) ** 2, 0)) /
      group.length;
    return {
      label,
      accuracy,
      interval: [accuracy - spread(0), accuracy + spread(1)],
      throughput: 1 / weighted((point) => 1 / point.throughput),
      callsPerQuestion: weighted((point) => point.callsPerQuestion),
      tokensPerQuestion: weighted((point) => point.tokensPerQuestion),
    };
  });
}

/** The points as a table. */
export function throughputTable(points: readonly ParetoPoint[]): Table {
  return {
    id: 'figure-11',
    title: 'Figure 11: accuracy against throughput (the paper prints no numbers)',
    columns: ['Accuracy', 'Questions a second', 'Calls', 'Tokens'],
    rows: points.map(({ label, accuracy, interval, throughput, callsPerQuestion, tokensPerQuestion }) => ({
      label,
      source: 'ours',
      cells: [
        { value: 100 * accuracy, interval: [100 * interval[0], 100 * interval[1]] },
        { value: throughput },
        { value: callsPerQuestion },
        { value: tokensPerQuestion },
      ],
    })),
  };
}

/** A round step that divides a span into about five. */
function step(span: number): number {
  const raw = Math.max(span, 1e-9) / 5;
  const power = 10 ** Math.floor(Math.log10(raw));
  return power * ([1, 2, 5, 10].find((factor) => factor * power >= raw) ?? 10);
}

/** The plot with 95 % bars. Colours are told apart by shape and label too. */
export function paretoSvg(points: readonly ParetoPoint[], title: string): string {
  const most = Math.max(1e-9, ...points.map(({ throughput }) => throughput)) * 1.05;
  const low = Math.floor(10 * Math.min(1, ...points.map(({ interval }) => interval[0]))) / 10;
  const high = Math.ceil(10 * Math.max(low + 0.1, ...points.map(({ interval }) => interval[1]))) / 10;
  const x = (value: number) => LEFT + (value / most) * (WIDTH - LEFT - RIGHT);
  const y = (value: number) => HEIGHT - BOTTOM - ((value - low) / (high - low)) * (HEIGHT - TOP - BOTTOM);
  const text = (at: [number, number], content: string, extra = '') =>
    `<text x="${at[0].toFixed(1)}" y="${at[1].toFixed(1)}" ${extra}>${escaped(content)}</text>`;
  const grid: string[] = [];
  const [right, bottom] = [WIDTH - RIGHT, HEIGHT - BOTTOM];
  for (let value = 0; value <= most; value += step(most)) {
    grid.push(`<line x1="${x(value)}" y1="${TOP}" x2="${x(value)}" y2="${bottom}" stroke="#ddd"/>`);
    grid.push(text([x(value), bottom + 18], String(Number(value.toPrecision(3))), 'text-anchor="middle"'));
  }
  for (let value = low; value <= high + 1e-9; value += step(high - low)) {
    grid.push(`<line x1="${LEFT}" y1="${y(value)}" x2="${right}" y2="${y(value)}" stroke="#ddd"/>`);
    grid.push(text([LEFT - 8, y(value) + 4], (100 * value).toFixed(0), 'text-anchor="end"'));
  }
  const marks = points.flatMap(({ label, accuracy, interval, throughput }) => [
    `<line x1="${x(throughput)}" y1="${y(interval[0])}" x2="${x(throughput)}" y2="${y(interval[1])}" stroke="#1f5fa8"/>`,
    `<circle cx="${x(throughput)}" cy="${y(accuracy)}" r="5" fill="#1f5fa8"/>`,
    text([x(throughput) + 9, y(accuracy) + 4], label),
  ]);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="13">`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="white"/>`,
    text([LEFT, 24], title, 'font-size="15"'),
    ...grid,
    ...marks,
    text([(LEFT + right) / 2, HEIGHT - 16], 'questions a second', 'text-anchor="middle"'),
    text([18, HEIGHT / 2], 'accuracy, %', `text-anchor="middle" transform="rotate(-90 18 ${HEIGHT / 2})"`),
    '</svg>',
    '',
  ].join('\n');
}
