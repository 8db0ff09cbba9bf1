/** Timeline and live curves of one experiment. */
import { useMemo, useRef } from 'preact/hooks';
import type { Curves, ExperimentDetail, PartState } from '../../server/api.ts';
import { Figure, usePalette } from '../chart.tsx';
import {
  ACCURACY,
  accuracyTraces,
  CHARTS,
  type Chart,
  figureLayout,
  latestAccuracy,
  metricTraces,
  otherChart,
  wholeWindow,
} from '../figures.ts';
import { duration, number, partName, percent } from '../format.ts';
import { type Resource, useLive, useResource } from '../live.tsx';
import { Badge, Choice, Notice, ProgressBar, Table, Trouble } from '../parts.tsx';
import { apiAddress } from '../requests.ts';
import { useParameters } from '../router.tsx';
import { Track } from '../track.tsx';

const SMOOTHING: [string, string][] = [
  ['', 'none'],
  ['0.6', 'a little'],
  ['0.9', 'more'],
  ['0.97', 'much'],
  ['0.99', 'very much'],
];

/** Points asked for a phase's curve: a chart is seldom wider than half as many pixels, and spikes are kept at any number. */
const POINTS = 800;

/** States in which a phase's curve grows no more. */
const ENDED = new Set<PartState>(['completed', 'reused', 'skipped', 'failed']);

/**
 * Curves of all phases, read once, and again when a phase has ended or begun; when the run has grown, only those of the phases that are
 * still open are read, so that a long run's finished phases are not sent with every step.
 */
function useCurves(
  address: string | null,
  open: string[],
  version: number,
): Pick<Resource<Curves>, 'data' | 'error'> {
  const phases = open.join();
  const changes = useRef({ phases, count: 0, since: version });
  if (changes.current.phases !== phases)
    changes.current = { phases, count: changes.current.count + 1, since: version };
  const whole = useResource<Curves>(address, changes.current.count);
  const grown =
    address === null || phases === '' || version === changes.current.since
      ? null
      : `${address}&${new URLSearchParams({ phases })}`;
  const part = useResource<Curves>(grown, version);
  const newer = part.address === grown && grown !== null ? part.data : null;
  // What has grown stays until the whole has been read again: a phase that ends must not fall back meanwhile.
  const shown = useRef<{ whole: Curves | null; data: Curves | null }>({ whole: null, data: null });
  const data = useMemo(() => {
    if (shown.current.whole !== whole.data) shown.current = { whole: whole.data, data: whole.data };
    if (newer !== null && shown.current.data !== null) shown.current.data = merged(shown.current.data, newer);
    return shown.current.data;
  }, [whole.data, newer]);
  return { data, error: whole.error ?? (grown === null ? null : part.error) };
}

/** The whole with those phases' curves that were read again. */
function merged(whole: Curves, newer: Curves): Curves {
  const metrics: Curves['metrics'] = {};
  for (const [metric, series] of Object.entries(whole.metrics)) {
    const again = newer.metrics[metric] ?? [];
    const phases = new Set(again.map(({ phase }) => phase));
    metrics[metric] = [...series.filter(({ phase }) => !phases.has(phase)), ...again];
  }
  return { ...whole, metrics };
}

/** Where the view's curves are: those of the charts that every run has a place for, and of `others`. */
export function curvesAddress(experiment: string, parameters: URLSearchParams, others: string[]): string {
  const { from, to, zoomed } = windowOf(parameters);
  const metrics = CHARTS.map(({ metric }) => metric).filter((metric) => metric !== ACCURACY);
  return apiAddress(['experiments', experiment, 'curves'], {
    metrics: [...metrics, ...others].join(),
    points: POINTS,
    smooth: parameters.get('smooth'),
    ...(zoomed && { from, to }),
  });
}

function windowOf(parameters: URLSearchParams): { from: number; to: number; zoomed: boolean } {
  const from = Number(parameters.get('from') ?? Number.NaN);
  const to = Number(parameters.get('to') ?? Number.NaN);
  return { from, to, zoomed: from < to };
}

/** The view. */
export function CurvesView({ detail }: { detail: ExperimentDetail }) {
  const live = useLive();
  const colours = usePalette();
  const [parameters, change] = useParameters();
  const { from, to, zoomed } = windowOf(parameters);
  const smooth = parameters.get('smooth') ?? '';
  const logged = useMemo(() => new Set(detail.phases.flatMap(({ metrics }) => metrics)), [detail]);
  const shown = CHARTS.filter(({ metric }) => metric === ACCURACY || logged.has(metric));
  const known = new Set(CHARTS.map(({ metric }) => metric));
  const others = [...logged].filter((metric) => !known.has(metric)).sort();
  const more = parameters.get('more') === 'true';
  const charts: Chart[] = [...shown, ...(more ? others.map(otherChart) : [])];
  const { data, error } = useCurves(
    logged.size === 0 ? null : curvesAddress(detail.experiment, parameters, more ? others : []),
    detail.phases.filter(({ state }) => !ENDED.has(state)).map(({ id }) => id),
    live.curves,
  );
  const whole = useMemo(() => wholeWindow(detail.phases), [detail.phases.at(-1)?.to]);
  const window = useMemo((): [number, number] => (zoomed ? [from, to] : whole), [zoomed, from, to, whole]);
  const setWindow = (next: [number, number] | null) =>
    change({ from: next === null ? null : round(next[0]), to: next === null ? null : round(next[1]) });
  const selected = detail.phases.find((phase) => zoomed && phase.from === from && phase.to === to);

  return (
    <>
      <Timeline detail={detail} />
      <form class="toolbar" onSubmit={(event) => event.preventDefault()}>
        <Choice
          label="Show"
          value={selected?.id ?? (zoomed ? 'part' : '')}
          options={[
            ['', 'whole run'],
            ...detail.phases.map((phase): [string, string] => [phase.id, partName(phase.id)]),
            ...(zoomed && selected === undefined
              ? [
                  ['part', `steps ${number(Math.round(from))} to ${number(Math.round(to))}`] as [
                    string,
                    string,
                  ],
                ]
              : []),
          ]}
          change={(id) => {
            const phase = detail.phases.find((candidate) => candidate.id === id);
            setWindow(phase === undefined ? null : [phase.from, phase.to]);
          }}
        />
        <Choice
          label="Smoothing"
          value={smooth}
          options={SMOOTHING}
          change={(value) => change({ smooth: value })}
        />
        {others.length === 0 ? null : (
          <button type="button" aria-pressed={more} onClick={() => change({ more: more ? null : 'true' })}>
            {more ? 'Fewer metrics' : `${others.length} more metrics`}
          </button>
        )}
        <a
          class="button"
          href={apiAddress(['experiments', detail.experiment, 'curves.csv'])}
          download={`${detail.experiment}.csv`}
        >
          CSV of every step
        </a>
        <Legend detail={detail} />
      </form>
      {error === null ? null : <Trouble what="The curves could not be read" error={error} />}
      {logged.size === 0 ? (
        <Notice title="No training step yet">The curves appear with the first step, by themselves.</Notice>
      ) : null}
      <div class="charts" data-ready={String(data !== null)}>
        {charts.map((chart) => (
          <CurveChart
            key={chart.metric}
            chart={chart}
            detail={detail}
            curves={data}
            colours={colours}
            window={window}
            whole={whole}
            zoomed={zoomed}
            setWindow={setWindow}
          />
        ))}
      </div>
    </>
  );
}

function CurveChart(props: {
  chart: Chart;
  detail: ExperimentDetail;
  curves: Curves | null;
  colours: ReturnType<typeof usePalette>;
  window: [number, number];
  whole: [number, number];
  zoomed: boolean;
  setWindow: (window: [number, number] | null) => void;
}) {
  const { chart, detail, curves, colours, window } = props;
  const series = curves?.metrics[chart.metric];
  const traces = useMemo(
    () =>
      chart.metric === ACCURACY
        ? accuracyTraces(detail.evaluations, window[1] - window[0], colours)
        : series === undefined
          ? null
          : metricTraces(series, detail.phases, colours),
    [chart.metric, series, chart.metric === ACCURACY ? detail.evaluations : null, window, colours],
  );
  const layout = useMemo(
    () => (width: number, log: boolean) =>
      figureLayout(chart, detail.phases, { window, colours, width }, log),
    [chart.metric, detail.phases, window, colours],
  );
  // Queue lengths are no part of a step's row: their newest value is the curve's.
  const latest =
    detail.phases.findLast((phase) => phase.latest !== null)?.latest?.[chart.metric] ??
    series?.findLast(({ y }) => y.length > 0)?.y.at(-1);
  return (
    <Figure
      metric={chart.metric}
      title={chart.title}
      hint={chart.hint}
      value={chart.metric === ACCURACY ? percent(latestAccuracy(detail.evaluations)) : number(latest)}
      traces={traces}
      layout={layout}
      file={`${detail.experiment}-${chart.metric}`}
      {...(chart.metric !== ACCURACY && {
        csv: apiAddress(['experiments', detail.experiment, 'curves.csv'], { metrics: chart.metric }),
      })}
      window={props.zoomed ? window : null}
      setWindow={props.setWindow}
      whole={props.whole}
    />
  );
}

/** Whole steps read better in an address. */
function round(step: number): number {
  return Math.max(0, Math.round(step * 10) / 10);
}

function Legend({ detail }: { detail: ExperimentDetail }) {
  const roles = [...new Set(detail.phases.map(({ name }) => name))];
  const restarts = detail.phases.some(({ restarts }) => restarts.length > 0);
  return (
    <ul class="legend" aria-label="Colours">
      {roles.map((role) => (
        <li key={role}>
          <span class="swatch" data-swatch={role} aria-hidden="true" /> {role}
        </li>
      ))}
      <li>
        <span class="swatch" data-swatch="p2r" aria-hidden="true" /> P2R accuracy
      </li>
      {restarts ? <li>┆ restart</li> : null}
    </ul>
  );
}

function Timeline({ detail }: { detail: ExperimentDetail }) {
  const evaluationRow = (evaluation: ExperimentDetail['evaluations'][number]) => [
    `evaluation of ${partName(evaluation.checkpoint)}`,
    <Badge state={evaluation.state} />,
    '',
    '',
    '',
    evaluation.strategies.map((score) => `${score.strategy} ${percent(score.accuracy)}`).join(', '),
    evaluation.message ?? '',
  ];
  const phaseRows = detail.phases.flatMap((phase) => [
    [
      partName(phase.id),
      <Badge state={phase.state} />,
      <ProgressBar
        done={phase.step}
        total={phase.total_steps}
        label={`steps of ${partName(phase.id)} done`}
      />,
      attempts(phase),
      phase.step_seconds === null ? '–' : duration(phase.step_seconds),
      number(phase.latest?.reward_mean),
      phase.message ?? '',
    ],
    ...detail.evaluations.filter(({ after }) => after === phase.id).map(evaluationRow),
  ]);
  const rows = [...detail.evaluations.filter(({ after }) => after === null).map(evaluationRow), ...phaseRows];
  return (
    <>
      <details class="timeline" open={detail.phases.length <= 8}>
        <summary>What ran when</summary>
        <Track timeline={detail.timeline} phases={detail.phases} />
      </details>
      <details class="timeline">
        <summary>Phases and evaluations as a table</summary>
        <Table
          caption="In the order in which they run"
          columns={['Part', 'State', 'Steps', 'Attempts', 'Time a step', 'Reward or accuracy', 'Message']}
          rows={rows}
        />
      </details>
    </>
  );
}

function attempts({ attempts: list, restarts }: ExperimentDetail['phases'][number]): string {
  const tried = list.filter(({ last_step }) => last_step !== null).length;
  if (tried === 0) return '–';
  return restarts.length === 0 ? String(tried) : `${tried}, taken over at step ${restarts.join(', ')}`;
}
