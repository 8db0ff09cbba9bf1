/** The paper's figures from runs: what each shows, as numbers, without a DOM. */
import { wilsonInterval } from '../../method/intervals.ts';
import type { Prediction } from '../../store/evaluations.ts';
import { COLOURS, type Figure, ROLE_COLOURS } from './figure.ts';
import {
  accuracyByIteration,
  algorithmOf,
  boxTrend,
  fittedLine,
  mean,
  type Run,
  type RunEvaluation,
  scheduleOf,
  type Throughput,
} from './runs.ts';

const bandsOf = (run: Run): NonNullable<Figure['bands']> =>
  run.phases.map(({ from, to, role, iteration }) => ({
    from: from + 0.5,
    to: to + 0.5,
    text: `${role} ${iteration}`,
    colour: ROLE_COLOURS[role] ?? '#555555',
  }));

/** A training metric over the steps of all phases. */
export function metricFigure(run: Run, metric: string, title: string, unit: string): Figure {
  return {
    title,
    x: 'training step',
    y: unit,
    bands: bandsOf(run),
    series: run.phases.map(({ role, from, rows }) => ({
      name: role,
      colour: ROLE_COLOURS[role] ?? '#555555',
      x: rows.map(({ step }) => from + step),
      y: rows.map((row) => row[metric] ?? null),
      mode: 'lines+markers' as const,
    })),
  };
}

/** Held-out scores over training: accuracy with intervals, hit rate and IoU at every evaluated checkpoint (Figures 6 and 9). */
export function heldOutFigure(run: Run, strategy = 'p2r'): Figure {
  const points = run.evaluations.flatMap(({ at, strategies }) => {
    const score = strategies[strategy];
    return score === undefined ? [] : [{ at, score }];
  });
  const x = points.map(({ at }) => at);
  return {
    title: 'Held-out scores over training',
    x: 'training step',
    y: 'share',
    percent: true,
    bands: bandsOf(run),
    series: [
      {
        name: 'accuracy, 95 % interval',
        x,
        y: points.map(({ score }) => score.accuracy),
        low: points.map(({ score }) => score.interval[0]),
        high: points.map(({ score }) => score.interval[1]),
        mode: 'lines+markers',
      },
      { name: 'hit rate', x, y: points.map(({ score }) => score.hit_rate), mode: 'lines+markers' },
      { name: 'mean IoU', x, y: points.map(({ score }) => score.iou), mode: 'lines+markers', dash: true },
    ],
  };
}

/** Accuracy by kind of question over the checkpoints (Figure 9's several benchmarks, here kinds of one). */
export function kindsFigure(run: Run, strategy = 'p2r'): Figure {
  const points = run.evaluations.filter(({ strategies }) => strategies[strategy] !== undefined);
  const kinds = [
    ...new Set(points.flatMap(({ strategies }) => Object.keys(strategies[strategy]?.by_kind ?? {}))),
  ];
  return {
    title: 'Accuracy by kind of question',
    x: 'training step',
    y: 'accuracy',
    percent: true,
    bands: bandsOf(run),
    series: kinds.map((kind) => ({
      name: kind,
      x: points.map(({ at }) => at),
      y: points.map(({ strategies }) => strategies[strategy]?.by_kind[kind]?.accuracy ?? null),
      mode: 'lines+markers' as const,
    })),
  };
}

/** A named group of runs of one condition, one a seed. */
export type Condition = { name: string; strategy: string; runs: Run[] };

/** Accuracy against iterations with fitted lines; slopes in points an iteration (Figure 8). */
export function iterationsFigure(conditions: Condition[]): {
  figure: Figure;
  slopes: Record<string, string | number>[];
} {
  const slopes: Record<string, string | number>[] = [];
  const series: Figure['series'] = [];
  for (const [index, { name, strategy, runs }] of conditions.entries()) {
    const colour = COLOURS[index % COLOURS.length] ?? '#555555';
    const points = runs.flatMap((run) => accuracyByIteration(run, strategy));
    const iterations = [...new Set(points.map(({ x }) => x))].sort((a, b) => a - b);
    if (iterations.length < 2) continue;
    const { slope, intercept } = fittedLine(points);
    slopes.push({
      condition: name,
      seeds: runs.length,
      'points an iteration': Number((slope * 100).toFixed(2)),
    });
    const means = iterations.map((iteration) => points.filter(({ x }) => x === iteration).map(({ y }) => y));
    series.push(
      {
        name: `${name}, mean of ${runs.length}`,
        x: iterations,
        y: means.map((values) => mean(values)),
        low: means.map((values) => Math.min(...values)),
        high: means.map((values) => Math.max(...values)),
        mode: 'markers',
        colour,
      },
      {
        name: `${name}, fitted`,
        colour,
        x: iterations,
        y: iterations.map((x) => intercept + slope * x),
        mode: 'lines',
        dash: true,
      },
    );
  }
  return {
    slopes,
    figure: {
      title: 'Accuracy over iterations',
      x: 'iteration',
      y: 'accuracy',
      percent: true,
      ticks: [...new Set(series.flatMap(({ x }) => x))].map((at) => ({ at, text: String(at) })),
      series,
    },
  };
}

/** The paper's names of what has been trained, by roles in their order (Figure 5 and Table 3). */
export const ABLATION: Record<string, string> = {
  '': 'base',
  perceiver: 'train P',
  reasoner: 'train R',
  'perceiver reasoner': 'P then R',
  'reasoner perceiver': 'R then P',
};

/** What has been trained by the time of an evaluation in the first iteration, as a key of {@link ABLATION}; null later and between. */
export function trainedRoles(run: Run, { after, checkpoint }: RunEvaluation): string | null {
  if (after === null) return '';
  const index = run.phases.findIndex(({ id }) => id === after);
  if (run.phases[index]?.iteration !== 1 || /-step-\d+$/.test(checkpoint)) return null;
  return run.phases
    .slice(0, index + 1)
    .map(({ role }) => role)
    .join(' ');
}

/** Answers by what has been trained (Figure 5), over all runs; an evaluation that runs share counts once. */
export function ablation(
  runs: readonly Run[],
  strategy = 'p2r',
): { name: string; correct: number; count: number }[] {
  return Object.entries(ABLATION).flatMap(([roles, name]) => {
    const evaluations = new Map(
      runs.flatMap((run) =>
        run.evaluations
          .filter((one) => trainedRoles(run, one) === roles)
          .map((one) => [one.key, one] as const),
      ),
    );
    const scores = [...evaluations.values()].flatMap(({ strategies }) => strategies[strategy] ?? []);
    const sum = (part: 'correct' | 'count') => scores.reduce((total, score) => total + score[part], 0);
    return scores.length === 0 ? [] : [{ name, correct: sum('correct'), count: sum('count') }];
  });
}

/** One cell of Table 3: P2R with the roles played by these checkpoints. */
export type CrossCell = { perceiver: string; reasoner: string; correct: number; count: number };

/** The paper's names of the checkpoints in Table 3, by what has been trained. */
const CROSS_NAMES: Record<string, string> = {
  '': 'Base',
  perceiver: 'P-Only',
  reasoner: 'R-Only',
  'perceiver reasoner': 'P2R-Full',
};

/**
 * P2R with the roles played by one checkpoint or by two (Table 3): a checkpoint with itself from its own evaluation, pairs from theirs.
 * Checkpoints that the table has no name for are left out; answers of several seeds are pooled, a shared evaluation counts once.
 */
export function crossCheckpoints(runs: readonly Run[]): CrossCell[] {
  const cells = new Map<string, CrossCell & { keys: Set<string> }>();
  for (const run of runs)
    for (const { key, checkpoint, strategies } of [...run.evaluations, ...run.pairs]) {
      const [perceiver, reasoner = perceiver] = checkpoint.split(' for ').map((name) => crossName(run, name));
      if (perceiver == null || reasoner == null || strategies.p2r === undefined) continue;
      const name = `${perceiver} ${reasoner}`;
      const cell = cells.get(name) ?? { perceiver, reasoner, correct: 0, count: 0, keys: new Set() };
      cells.set(name, cell);
      if (cell.keys.has(key)) continue;
      cell.keys.add(key);
      cell.correct += strategies.p2r.correct;
      cell.count += strategies.p2r.count;
    }
  const order = Object.values(CROSS_NAMES);
  return order.flatMap((perceiver) =>
    order.flatMap((reasoner) => {
      const { keys: _, ...cell } = cells.get(`${perceiver} ${reasoner}`) ?? { keys: null };
      return 'count' in cell ? cell : [];
    }),
  );
}

/** What Table 3 calls a checkpoint of a run, null where it has no name. */
function crossName(run: Run, checkpoint: string): string | null {
  if (checkpoint === 'base') return 'Base';
  const [, role, other] = /^iteration-1-([a-z]+)(?:-of-([a-z-]+))?$/.exec(checkpoint) ?? [];
  if (role === undefined) return null;
  const roles = other?.split('-') ?? scheduleOf(run);
  return CROSS_NAMES[roles.slice(0, roles.indexOf(role) + 1).join(' ')] ?? null;
}

/** Accuracy of named columns side by side, with intervals (Figures 4, 5 and 12). */
export function columnsFigure(
  title: string,
  columns: { name: string; correct: number; count: number }[],
): Figure {
  const intervals = columns.map(({ correct, count }) => wilsonInterval(correct, count));
  return {
    title,
    x: '',
    y: 'accuracy',
    percent: true,
    ticks: columns.map(({ name }, at) => ({ at, text: name })),
    series: [
      {
        name: 'accuracy, 95 % interval',
        x: columns.map((_, at) => at),
        y: columns.map(({ correct, count }) => correct / count),
        low: intervals.map(([low]) => low),
        high: intervals.map(([, high]) => high),
        mode: 'markers',
      },
    ],
  };
}

/** Accuracy against the number of boxes in an answer: do more boxes help? */
export function boxesFigure(predictions: Prediction[]): Figure {
  const groups = Map.groupBy(
    predictions.filter(({ strategy }) => strategy === 'p2r'),
    ({ boxes }) => Math.min(4, boxes.length),
  );
  const counts = [...groups.keys()].sort((a, b) => a - b);
  return {
    ...columnsFigure(
      'Accuracy by number of predicted boxes',
      counts.map((count) => {
        const rows = groups.get(count) ?? [];
        return {
          name: `${count === 4 ? '4 or more' : count} (n = ${rows.length})`,
          correct: rows.filter(({ correct }) => correct).length,
          count: rows.length,
        };
      }),
    ),
    x: 'predicted boxes',
  };
}

/** A metric over the steps of the first perceiver phase, one line a run, named by its algorithm (appendix E.4). */
export function perceiverFigure(runs: readonly Run[], metric: string, title: string, unit: string): Figure {
  return {
    title,
    x: 'step of the first perceiver phase',
    y: unit,
    series: runs.flatMap((run) => {
      const phase = run.phases.find(({ role }) => role === 'perceiver');
      if (phase === undefined) return [];
      return {
        name: `${algorithmOf(run)}, ${run.record.experiment}`,
        x: phase.rows.map(({ step }) => step),
        y: phase.rows.map((row) => row[metric] ?? null),
        mode: 'lines' as const,
      };
    }),
  };
}

/** Held-out accuracy by kind of question after the first perceiver phase: a kind that needs two boxes suffers first when boxes collapse. */
export function kindsAfterPerceiver(
  runs: readonly Run[],
  strategy = 'p2r',
): Record<string, string | number>[] {
  return runs.flatMap((run) => {
    const phase = run.phases.find(({ role }) => role === 'perceiver');
    const score = run.evaluations.findLast(({ after }) => after === phase?.id)?.strategies[strategy];
    if (phase === undefined || score === undefined) return [];
    const share = (value: number | null) => (value === null ? '–' : `${(value * 100).toFixed(1)} %`);
    return {
      run: run.record.experiment,
      algorithm: algorithmOf(run),
      accuracy: share(score.accuracy),
      'hit rate': share(score.hit_rate),
      boxes: score.box_count === null ? '–' : score.box_count.toFixed(2),
      ...Object.fromEntries(
        Object.entries(score.by_kind)
          .sort(([a], [b]) => (a < b ? -1 : 1))
          .map(([kind, { accuracy, count }]) => [kind, `${share(accuracy)} of ${count}`]),
      ),
    };
  });
}

/** Box counts and sizes at the beginning and the end of each phase: a collapse would show as boxes that grow or multiply. */
export function boxTrends(run: Run): Record<string, string | number | null>[] {
  const round = (value: number | null) => (value === null ? null : Number(value.toFixed(2)));
  return run.phases.map((phase) => {
    const { count, size } = boxTrend(phase);
    return {
      run: run.record.experiment,
      phase: phase.id,
      'boxes, first fifth': round(count[0]),
      'boxes, last fifth': round(count[1]),
      'size, first fifth (px)': round(size[0]),
      'size, last fifth (px)': round(size[1]),
    };
  });
}

/** Accuracy against answers a second, one point a checkpoint and strategy (Figure 11). */
export function throughputFigure(rows: readonly Throughput[]): Figure {
  return {
    title: 'Accuracy against throughput',
    x: 'answers a second',
    y: 'accuracy',
    percent: true,
    series: [...Map.groupBy(rows, ({ strategy }) => strategy)].map(([strategy, points]) => ({
      name: strategy,
      x: points.map(({ rate }) => rate),
      y: points.map(({ accuracy }) => accuracy),
      mode: 'markers',
    })),
  };
}
