/** Several experiments in the same charts; each is drawn as soon as it has been read. */
import { useEffect, useMemo, useState } from 'preact/hooks';
import type { Curves, ExperimentDetail } from '../../server/api.ts';
import { Figure, usePalette } from '../chart.tsx';
import {
  ACCURACY,
  CHARTS,
  comparedAccuracy,
  comparisonTraces,
  figureLayout,
  wholeWindow,
} from '../figures.ts';
import { number, percent } from '../format.ts';
import { Badge, Choice, Notice, Table } from '../parts.tsx';
import { apiAddress, get, type RequestError } from '../requests.ts';
import { experimentAddress, Link, useParameters } from '../router.tsx';

const SMOOTHING: [string, string][] = [
  ['', 'none'],
  ['0.9', 'more'],
  ['0.99', 'very much'],
];
const MOST_RUNS = 24;
const MAIN = ['reward_mean', ACCURACY, 'hit_rate', 'iou', 'box_count', 'box_size'];

/** The page. */
export function ComparePage() {
  const colours = usePalette();
  const [parameters, change] = useParameters();
  const list = parameters.get('runs') ?? '';
  const runs = useMemo(() => [...new Set(list.split(',').filter(Boolean))].slice(0, MOST_RUNS), [list]);
  const metric = parameters.get('metric') ?? '';
  const smooth = parameters.get('smooth') ?? '';
  const from = Number(parameters.get('from') ?? Number.NaN);
  const to = Number(parameters.get('to') ?? Number.NaN);
  const zoomed = from < to;
  const wanted = CHARTS.filter((chart) =>
    metric === '' ? MAIN.includes(chart.metric) : chart.metric === metric,
  );
  const { details, curves, errors } = useRuns(runs, {
    metrics: wanted.flatMap((chart) => (chart.metric === ACCURACY ? [] : [chart.metric])).join(','),
    points: Math.max(300, Math.min(2000, Math.floor(12_000 / Math.max(1, runs.length)))),
    smooth,
    ...(zoomed && { from, to }),
  });
  useEffect(() => {
    document.title = 'Compare · P2R Lab';
  }, []);
  const longest = [...details.values()].reduce<ExperimentDetail['phases']>(
    (best, { phases }) => ((phases.at(-1)?.to ?? 0) > (best.at(-1)?.to ?? 0) ? phases : best),
    [],
  );
  const end = longest.at(-1)?.to ?? 0;
  const whole = useMemo(() => wholeWindow(longest), [end]);
  const window = useMemo((): [number, number] => (zoomed ? [from, to] : whole), [zoomed, from, to, whole]);
  const setWindow = (next: [number, number] | null) =>
    change({
      from: next === null ? null : Math.round(next[0]),
      to: next === null ? null : Math.round(next[1]),
    });

  if (runs.length === 0)
    return (
      <Notice title="Nothing to compare">
        Choose two or more on the <Link to="/">list of experiments</Link>.
      </Notice>
    );
  return (
    <>
      <h1>Compare {runs.length} experiments</h1>
      {errors.map(({ experiment, error }) => (
        <Notice key={experiment} title={`${experiment} could not be read`} kind="error">
          {error.message}
        </Notice>
      ))}
      <form class="toolbar" onSubmit={(event) => event.preventDefault()}>
        <Choice
          label="Metric"
          value={metric}
          options={[
            ['', 'the main ones'],
            ...CHARTS.map((chart): [string, string] => [chart.metric, chart.title]),
          ]}
          change={(value) => change({ metric: value })}
        />
        <Choice
          label="Smoothing"
          value={smooth}
          options={SMOOTHING}
          change={(value) => change({ smooth: value })}
        />
        {zoomed ? (
          <button type="button" onClick={() => setWindow(null)}>
            Whole run
          </button>
        ) : null}
        <ul class="legend" aria-label="Colours">
          {runs.map((experiment, index) => (
            <li key={experiment}>
              <span
                class="swatch"
                data-swatch={`run-${(index % 8) + 1}`}
                data-dash={Math.floor(index / 8)}
                aria-hidden="true"
              />
              <Link to={experimentAddress(experiment)}>{experiment}</Link>
            </li>
          ))}
        </ul>
      </form>
      <div class="charts" data-loaded={curves.size}>
        {wanted.map((chart) => (
          <ComparedChart
            key={chart.metric}
            chart={chart}
            runs={runs}
            curves={curves}
            details={details}
            colours={colours}
            window={window}
            whole={whole}
            zoomed={zoomed}
            setWindow={setWindow}
          />
        ))}
      </div>
      <Table
        caption="Where they stand: held-out accuracy by P2R, of a text-only run by direct answers"
        columns={['Experiment', 'State', 'Steps', 'Reward', 'Base', 'Best', 'Gain']}
        numeric={[2, 3, 4, 5, 6]}
        rows={runs.flatMap((experiment) => {
          const detail = details.get(experiment);
          if (detail === undefined) return [];
          const gain =
            detail.best_accuracy === null || detail.base_accuracy === null
              ? null
              : detail.best_accuracy - detail.base_accuracy;
          return [
            [
              <Link to={experimentAddress(experiment)}>{experiment}</Link>,
              <Badge state={detail.state} />,
              number(detail.step),
              number(detail.reward_mean),
              percent(detail.base_accuracy),
              percent(detail.best_accuracy),
              gain === null ? '–' : `${gain >= 0 ? '+' : ''}${(gain * 100).toFixed(1)} points`,
            ],
          ];
        })}
      />
    </>
  );
}

function ComparedChart(props: {
  chart: (typeof CHARTS)[number];
  runs: string[];
  curves: ReadonlyMap<string, Curves>;
  details: ReadonlyMap<string, ExperimentDetail>;
  colours: ReturnType<typeof usePalette>;
  window: [number, number];
  whole: [number, number];
  zoomed: boolean;
  setWindow: (window: [number, number] | null) => void;
}) {
  const { chart, runs, colours, window } = props;
  const read = chart.metric === ACCURACY ? props.details : props.curves;
  const traces = useMemo(() => {
    if (read.size === 0) return null;
    if (chart.metric === ACCURACY)
      return comparedAccuracy(
        runs.map((experiment) => ({
          experiment,
          evaluations: props.details.get(experiment)?.evaluations ?? [],
        })),
        colours,
      );
    return comparisonTraces(
      runs.map((experiment) => ({
        experiment,
        series: props.curves.get(experiment)?.metrics[chart.metric] ?? [],
      })),
      colours,
    );
  }, [runs, read, colours, chart.metric]);
  const layout = useMemo(
    () => (width: number, log: boolean) => figureLayout(chart, [], { window, colours, width }, log),
    [chart.metric, window, colours],
  );
  return (
    <Figure
      metric={chart.metric}
      title={chart.title}
      hint={chart.hint}
      traces={traces}
      layout={layout}
      file={`comparison-${chart.metric}`}
      window={props.zoomed ? window : null}
      setWindow={props.setWindow}
      whole={props.whole}
    />
  );
}

/** Reads the runs one after the other, so that the first is drawn while the others are still read. */
function useRuns(runs: string[], query: Record<string, string | number>) {
  const key = `${runs.join(',')} ${JSON.stringify(query)}`;
  const [details, setDetails] = useState<ReadonlyMap<string, ExperimentDetail>>(new Map());
  const [curves, setCurves] = useState<ReadonlyMap<string, Curves>>(new Map());
  const [errors, setErrors] = useState<{ experiment: string; error: RequestError }[]>([]);
  useEffect(() => {
    const abort = new AbortController();
    setErrors([]);
    void (async () => {
      for (const experiment of runs) {
        try {
          const path = ['experiments', experiment];
          if (query.metrics !== '') {
            const read = await get<Curves>(apiAddress([...path, 'curves'], query), abort.signal);
            setCurves((now) => new Map(now).set(experiment, read));
          }
          const detail = await get<ExperimentDetail>(apiAddress(path), abort.signal);
          setDetails((now) => new Map(now).set(experiment, detail));
        } catch (error) {
          if (abort.signal.aborted) return;
          setErrors((now) => [...now, { experiment, error: error as RequestError }]);
        }
      }
    })();
    return () => abort.abort();
  }, [key]);
  return { details, curves, errors };
}
