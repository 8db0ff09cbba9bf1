/** From an experiment's data to plotly figures. No DOM in here. */
import type { Data, ErrorBar, Layout, Shape } from 'plotly.js';
import type { EvaluationView, PhaseView, Role, ScoreView, Series } from '../server/api.ts';
import { partName } from './format.ts';
import type { Palette } from './palette.ts';

/** A chart of the page. */
export type Chart = { metric: string; title: string; hint: string };

/** The charts, in reading order. docs/metrics.md defines what they show. */
export const CHARTS: Chart[] = [
  { metric: 'reward_mean', title: 'Reward', hint: "mean over a step's rollouts" },
  { metric: 'accuracy', title: 'Held-out accuracy', hint: 'with 95 % interval' },
  { metric: 'hit_rate', title: 'Hit rate', hint: 'true boxes with a predicted centre inside' },
  { metric: 'iou', title: 'Mean IoU', hint: 'best overlap with each true box' },
  { metric: 'box_count', title: 'Boxes per answer', hint: 'predicted boxes, mean' },
  { metric: 'box_size', title: 'Box size', hint: 'side of a square of equal area, px' },
  { metric: 'kl', title: 'KL', hint: 'to the reference, nats a token' },
  { metric: 'entropy', title: 'Entropy', hint: 'nats a token' },
  { metric: 'completion_length', title: 'Completion length', hint: 'tokens, mean' },
  { metric: 'clip_fraction', title: 'Clip fraction', hint: 'share of tokens' },
  { metric: 'grad_norm', title: 'Gradient norm', hint: 'before clipping' },
  { metric: 'step_seconds', title: 'Step time', hint: 'seconds' },
  { metric: 'model_running', title: 'Served model', hint: 'requests that run, all servers' },
  { metric: 'model_waiting', title: 'Queue of the served model', hint: 'requests that wait' },
];

/** A chart for a metric that has no place of its own above. */
export function otherChart(metric: string): Chart {
  return { metric, title: metric.replaceAll('_', ' '), hint: '' };
}

/** The name of the chart that is made of evaluations, not of steps. */
export const ACCURACY = 'accuracy';

/** Phases narrower than this many pixels carry no label, and those below the second number a short one. */
const LABEL_PIXELS = { short: 18, full: 84 };

/** What a figure shows apart from its data: the step window, the look, and the width in pixels that labels must fit. */
export type FigureFrame = { window: [number, number]; colours: Palette; width: number };

/** The whole run's window: half a step of air at both ends. */
export function wholeWindow(phases: PhaseView[]): [number, number] {
  const end = Math.max(1, phases.at(-1)?.to ?? 1);
  return [-0.02 * end - 0.5, end + 0.5 + 0.02 * end];
}

/** A metric's traces: one a phase, so that the colour tells the role; a smoothed line lies over the raw one and never hides it. */
export function metricTraces(series: Series[], phases: PhaseView[], colours: Palette): Data[] {
  return series.flatMap(({ phase: id, x, y, smooth }): Data[] => {
    const phase = phases.find((candidate) => candidate.id === id);
    const role: Role = phase?.name ?? 'perceiver';
    const few = x.length <= 80;
    const name = phase === undefined ? plainText(id) : `${role} ${phase.iteration}`;
    const raw: Data = {
      type: 'scatter',
      mode: few ? 'lines+markers' : 'lines',
      name,
      x,
      y,
      opacity: smooth === null ? 1 : 0.45,
      line: { color: colours[role], width: few && smooth === null ? 2 : 1.2 },
      marker: { color: colours[role], size: smooth === null ? 5 : 3, symbol: MARKERS[role] },
      hovertemplate: `%{y:.4~g}<extra>${role}, step %{customdata:.4~g}</extra>`,
      customdata: x.map((step) => step - (phase?.from ?? 0)),
    };
    if (smooth === null) return [raw];
    return [
      raw,
      {
        type: 'scatter',
        mode: 'lines',
        name: `${name}, smoothed`,
        x,
        y: smooth,
        line: { color: colours[role], width: 2.4 },
        hovertemplate: '%{y:.4~g}<extra>smoothed</extra>',
      },
    ];
  });
}

const MARKERS: Record<Role, 'circle' | 'square' | 'triangle-up'> = {
  perceiver: 'circle',
  reasoner: 'square',
  direct: 'triangle-up',
};

/** One run of a comparison. */
export type ComparedRun = { experiment: string; series: Series[] };

const RUN_MARKERS = [
  'circle',
  'square',
  'diamond',
  'triangle-up',
  'cross',
  'triangle-down',
  'x',
  'star',
] as const;
const DASHES = ['solid', 'dash', 'dot', 'dashdot'] as const;

/** What tells the runs of a comparison apart: colour, and dash after the eighth. */
function runLine(index: number, colours: Palette) {
  return {
    color: colours.runs[index % colours.runs.length] ?? colours.other,
    dash: DASHES[Math.floor(index / colours.runs.length) % DASHES.length] ?? 'solid',
  };
}

/** A metric of several runs: one line a run, told apart by colour and by dash. */
export function comparisonTraces(runs: ComparedRun[], colours: Palette): Data[] {
  return runs.map(({ experiment, series }, index) => {
    const smooth = series.some((part) => part.smooth !== null);
    return {
      type: 'scatter',
      mode: 'lines',
      name: plainText(experiment),
      // A gap between phases keeps the line from joining what is apart.
      x: series.flatMap(({ x }) => [...x, x.at(-1) ?? 0]),
      y: series.flatMap((part) => [...(smooth ? (part.smooth ?? part.y) : part.y), null]),
      line: { ...runLine(index, colours), width: 1.8 },
      hovertemplate: '%{y:.4~g}<extra>%{fullData.name}</extra>',
    };
  });
}

/** The score that `pick` takes of each evaluated checkpoint, in the order of the curve; a pair of checkpoints is no point of it. */
function points(
  evaluations: EvaluationView[],
  pick: (strategies: ScoreView[]) => ScoreView | undefined,
): { evaluation: EvaluationView; score: ScoreView }[] {
  return evaluations.flatMap((evaluation) => {
    const score = pick(evaluation.strategies);
    return evaluation.pair || score === undefined ? [] : [{ evaluation, score }];
  });
}

/** Scores of a run's checkpoints by P2R, or by their first strategy where they were not asked by P2R. */
function headline(evaluations: EvaluationView[]) {
  return points(evaluations, (scores) => scores.find(({ strategy }) => strategy === 'p2r') ?? scores[0]);
}

/** Accuracy of the checkpoint that was evaluated last, 0 to 1, by P2R where it was asked so. */
export function latestAccuracy(evaluations: EvaluationView[]): number | null {
  return headline(evaluations).at(-1)?.score.accuracy ?? null;
}

/** Held-out accuracy of several runs, with intervals: one line a run, by P2R where it was asked so. */
export function comparedAccuracy(
  runs: { experiment: string; evaluations: EvaluationView[] }[],
  colours: Palette,
): Data[] {
  return runs.map(({ experiment, evaluations }, index) => {
    const scored = headline(evaluations);
    const line = runLine(index, colours);
    return {
      type: 'scatter',
      mode: 'lines+markers',
      name: plainText(experiment),
      x: scored.map(({ evaluation }) => evaluation.at),
      y: scored.map(({ score }) => score.accuracy),
      error_y: intervals(
        scored.map(({ score }) => score),
        line.color,
      ),
      line: { ...line, width: 2 },
      marker: { color: line.color, size: 7, symbol: RUN_MARKERS[index % RUN_MARKERS.length] ?? 'circle' },
      customdata: scored.map(({ evaluation, score }) => plainText(describe(evaluation, score))),
      hovertemplate: '%{customdata}<extra>%{fullData.name}</extra>',
    };
  });
}

/** Error bars that show the scores' intervals; sizes in pixels. */
export function intervals(
  scores: Pick<ScoreView, 'accuracy' | 'interval'>[],
  color: string,
  size = { thickness: 1.5, width: 4 },
): ErrorBar {
  return {
    type: 'data',
    symmetric: false,
    array: scores.map(({ interval, accuracy }) => interval[1] - accuracy),
    arrayminus: scores.map(({ interval, accuracy }) => accuracy - interval[0]),
    color,
    ...size,
  };
}

const OTHER_LOOK = { colour: 'other', symbol: 'circle', dash: 'dot' } as const;
const LOOKS = new Map(
  Object.entries({
    p2r: { colour: 'p2r', symbol: 'diamond', dash: 'solid' },
    direct: { colour: 'direct', symbol: 'circle-open', dash: 'dot' },
    none: { colour: 'direct', symbol: 'x', dash: 'dot' },
    random: { colour: 'other', symbol: 'triangle-up', dash: 'dash' },
    oracle: { colour: 'other', symbol: 'star', dash: 'dashdot' },
    grounding: { colour: 'other', symbol: 'square', dash: 'dot' },
  } as const),
);

/** How a strategy is drawn: P2R and direct answers by colour, every other of the paper's by mark and dash. */
export function strategyLook(strategy: string, colours: Palette) {
  const { colour, symbol, dash } = LOOKS.get(strategy) ?? OTHER_LOOK;
  return { colour: colours[colour], symbol, dash };
}

/** Held-out accuracy by strategy, with intervals, at the ends of the phases. */
export function accuracyTraces(evaluations: EvaluationView[], span: number, colours: Palette): Data[] {
  const names = [
    ...new Set(evaluations.flatMap(({ strategies }) => strategies.map((score) => score.strategy))),
  ];
  return names.map((strategy, index) => {
    const scored = points(evaluations, (scores) => scores.find((score) => score.strategy === strategy));
    const { colour, symbol, dash } = strategyLook(strategy, colours);
    // Strategies that share a checkpoint stand side by side, so that no interval hides another.
    const aside = (index - (names.length - 1) / 2) * span * 0.018;
    return {
      type: 'scatter',
      mode: 'lines+markers',
      name: plainText(strategy),
      x: scored.map(({ evaluation }) => evaluation.at + aside),
      y: scored.map(({ score }) => score.accuracy),
      error_y: intervals(
        scored.map(({ score }) => score),
        colour,
      ),
      line: { color: colour, width: 2, dash },
      marker: { color: colour, size: 8, symbol },
      customdata: scored.map(({ evaluation, score }) => plainText(describe(evaluation, score))),
      hovertemplate: '%{customdata}<extra></extra>',
    };
  });
}

function describe(evaluation: EvaluationView, score: ScoreView): string {
  const [low, high] = score.interval.map((share) => (share * 100).toFixed(1));
  return `${score.strategy}, ${partName(evaluation.checkpoint)}: ${(score.accuracy * 100).toFixed(1)} % (${low} to ${high}, n = ${score.count})`;
}

/** A name from data as plotly shows it: plotly reads a few HTML tags in its texts. */
export function plainText(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

/** Everything around the traces: phases shaded and labelled, restarts marked, axes. */
export function figureLayout(
  chart: Chart,
  phases: PhaseView[],
  frame: FigureFrame,
  log = false,
): Partial<Layout> {
  const { colours, window } = frame;
  return {
    margin: { l: 46, r: 12, t: 20, b: 34 },
    paper_bgcolor: 'rgba(0,0,0,0)',
    plot_bgcolor: 'rgba(0,0,0,0)',
    font: { color: colours.soft, size: 12, family: 'system-ui, sans-serif' },
    showlegend: false,
    hovermode: 'x',
    hoverlabel: { bgcolor: colours.panel, bordercolor: colours.grid, font: { color: colours.ink, size: 12 } },
    dragmode: 'zoom',
    // Constant: what a reader chose by hand stays over every update. The step window is the page's own to set.
    uirevision: 'constant',
    xaxis: {
      range: [...window],
      uirevision: window.join(),
      gridcolor: colours.grid,
      zeroline: false,
      title: { text: 'step', standoff: 4, font: { size: 11 } },
      tickformat: ',d',
      nticks: Math.max(3, Math.round(frame.width / 80)),
      hoverformat: '.0f',
      showspikes: true,
      spikemode: 'across',
      spikesnap: 'data',
      spikethickness: 1,
      spikedash: 'solid',
      spikecolor: colours.soft,
    },
    yaxis: {
      gridcolor: colours.grid,
      zeroline: false,
      type: log ? 'log' : 'linear',
      rangemode: log ? 'normal' : 'tozero',
      fixedrange: true,
      nticks: 5,
      automargin: false,
      ...(chart.metric === ACCURACY && { tickformat: '.0%' }),
    },
    shapes: [
      ...phases.map((phase) => band(phase, colours)),
      ...phases.flatMap((phase) => restartMarks(phase, colours)),
    ],
    annotations: phases.flatMap((phase) => phaseLabel(phase, frame)),
  };
}

/** A phase's ground. Step n of the run covers n - 0.5 to n + 0.5. */
function band(phase: PhaseView, colours: Palette): Partial<Shape> {
  return {
    type: 'rect',
    layer: 'below',
    xref: 'x',
    yref: 'paper',
    x0: phase.from + 0.5,
    x1: phase.to + 0.5,
    y0: 0,
    y1: 1,
    line: { width: 0 },
    fillcolor: colours[phase.name],
    opacity: 0.1,
  };
}

function restartMarks(phase: PhaseView, colours: Palette): Partial<Shape>[] {
  return phase.restarts.map((step) => ({
    type: 'line',
    xref: 'x',
    yref: 'paper',
    x0: step - 0.5,
    x1: step - 0.5,
    y0: 0,
    y1: 1,
    line: { color: colours.ink, width: 1, dash: 'dash' },
  }));
}

function phaseLabel(
  phase: PhaseView,
  { window, colours, width }: FigureFrame,
): Partial<Layout>['annotations'] & object {
  const [low, high] = window;
  const left = Math.max(low, phase.from + 0.5);
  const right = Math.min(high, phase.to + 0.5);
  const pixels = ((right - left) / (high - low)) * (width - 58);
  if (pixels < LABEL_PIXELS.short) return [];
  const short = `${phase.name.charAt(0).toUpperCase()}${phase.iteration}`;
  return [
    {
      xref: 'x',
      yref: 'paper',
      x: (left + right) / 2,
      y: 1,
      xanchor: 'center',
      yanchor: 'bottom',
      showarrow: false,
      text: pixels < LABEL_PIXELS.full ? short : `${phase.name} ${phase.iteration}`,
      font: { size: 11, color: colours.soft },
    },
  ];
}
