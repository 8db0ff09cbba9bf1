/** Evaluation: scores with intervals, where errors come from, two columns side by side, one sample over the checkpoints. */

import type { Data, Layout } from 'plotly.js';
import { useMemo } from 'preact/hooks';
import type {
  EvaluationPage,
  EvaluationRow,
  ExperimentDetail,
  PairedView,
  SampleHistory,
  StrategyAnswers,
} from '../../server/api.ts';
import { Figure, usePalette } from '../chart.tsx';
import { intervals, plainText, strategyLook } from '../figures.ts';
import { number, partName, percent, shortName } from '../format.ts';
import { useLive, useResource } from '../live.tsx';
import { BoxedImage, Crops } from '../overlay.tsx';
import type { Palette } from '../palette.ts';
import { Choice, Notice, Table, Trouble } from '../parts.tsx';
import { apiAddress } from '../requests.ts';
import { useParameters } from '../router.tsx';
import { Said, Verdict } from './samples.tsx';

const columnOf = ({ evaluation, strategy }: EvaluationRow) => `${evaluation}:${strategy}`;
const nameOf = ({ checkpoint, strategy }: EvaluationRow) => `${partName(checkpoint)}, ${strategy}`;

/** The view. */
export function EvaluationView({ detail }: { detail: ExperimentDetail }) {
  const live = useLive();
  const colours = usePalette();
  const { data, error } = useResource<EvaluationPage>(
    apiAddress(['experiments', detail.experiment, 'evaluation']),
    live.experiment,
  );
  const rows = data?.rows ?? [];
  const kinds = [...new Set(rows.flatMap(({ by_kind }) => Object.keys(by_kind)))].sort();
  if (data === null)
    return error === null ? (
      <p class="soft">Reading the evaluations…</p>
    ) : (
      <Trouble what="The evaluations could not be read" error={error} />
    );
  if (rows.length === 0)
    return (
      <Notice title="No evaluation has ended yet">
        The first one, of the base model, runs before training. Its scores appear here by themselves.
      </Notice>
    );
  const named = rows.filter(({ attribution }) => attribution !== null);
  return (
    <>
      <Table
        caption="Accuracy on held-out samples, with 95 % Wilson intervals"
        columns={[
          'Checkpoint',
          'Strategy',
          'Accuracy',
          '95 % interval',
          'n',
          'Hit rate',
          'IoU',
          'Boxes',
          ...kinds,
        ]}
        numeric={[2, 3, 4, 5, 6, 7, ...kinds.map((_, index) => 8 + index)]}
        rows={rows.map((row) => [
          partName(row.checkpoint),
          row.strategy,
          percent(row.accuracy),
          interval(row.interval),
          String(row.count),
          percent(row.hit_rate),
          number(row.iou),
          number(row.box_count),
          ...kinds.map((kind) => percent(row.by_kind[kind]?.accuracy)),
        ])}
      />
      <div class="charts">
        <KindChart rows={rows} kinds={kinds} colours={colours} experiment={detail.experiment} />
        <ThroughputChart rows={rows} colours={colours} experiment={detail.experiment} />
      </div>
      {named.length === 0 ? null : (
        <Table
          caption="Where errors come from: was every true box hit, and was the answer right?"
          columns={[
            'Checkpoint',
            'Strategy',
            <Part index={0} text="hit, right" />,
            <Part index={1} text="hit, wrong" />,
            <Part index={2} text="missed, right" />,
            <Part index={3} text="missed, wrong" />,
            'Shares',
          ]}
          numeric={[2, 3, 4, 5]}
          rows={named.map((row) => {
            const found = row.attribution ?? { hit_right: 0, hit_wrong: 0, miss_right: 0, miss_wrong: 0 };
            const cells = [found.hit_right, found.hit_wrong, found.miss_right, found.miss_wrong];
            return [partName(row.checkpoint), row.strategy, ...cells.map(String), <Shares parts={cells} />];
          })}
        />
      )}
      <Strategies detail={detail} rows={rows} />
      <Pair detail={detail} rows={rows} />
    </>
  );
}

const interval = ([low, high]: [number, number]) => `${percent(low)} to ${percent(high)}`;

function Part({ index, text }: { index: number; text: string }) {
  return (
    <>
      <span class="part" data-part={index} aria-hidden="true" /> {text}
    </>
  );
}

/** Four shares as a bar: reasoning is to blame for the second part, perception for the last two. */
function Shares({ parts }: { parts: number[] }) {
  const total = parts.reduce((sum, part) => sum + part, 0);
  let x = 0;
  return (
    <svg class="shares" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">
      {parts.map((part, index) => {
        const width = (part / Math.max(1, total)) * 100;
        x += width;
        return <rect key={index} x={x - width} y="0" width={width} height="10" data-part={index} />;
      })}
    </svg>
  );
}

function frame(colours: Palette): Partial<Layout> {
  return {
    margin: { l: 52, r: 12, t: 12, b: 44 },
    paper_bgcolor: 'rgba(0,0,0,0)',
    plot_bgcolor: 'rgba(0,0,0,0)',
    font: { color: colours.soft, size: 12, family: 'system-ui, sans-serif' },
    hoverlabel: { bgcolor: colours.panel, bordercolor: colours.grid, font: { color: colours.ink, size: 12 } },
    showlegend: false,
  };
}

type ChartProps = { rows: EvaluationRow[]; colours: Palette; experiment: string };

function KindChart({ rows, kinds, colours, experiment }: ChartProps & { kinds: string[] }) {
  const traces = useMemo((): Data[] => {
    const p2r = rows.filter(({ strategy }) => strategy === 'p2r');
    return kinds.map((kind, index) => ({
      type: 'scatter',
      mode: 'lines+markers',
      name: plainText(kind),
      x: p2r.map(({ checkpoint }) => plainText(shortName(checkpoint))),
      y: p2r.map(({ by_kind }) => by_kind[kind]?.accuracy ?? null),
      error_y: intervals(
        p2r.map(({ by_kind }) => by_kind[kind] ?? { accuracy: 0, interval: [0, 0] }),
        colours.runs[index % 8] ?? colours.other,
        { thickness: 1, width: 3 },
      ),
      line: { color: colours.runs[index % 8] ?? colours.other, width: 2 },
      marker: {
        size: 8,
        symbol: (['circle', 'square', 'diamond', 'triangle-up'] as const)[index % 4] ?? 'circle',
      },
      hovertemplate: '%{y:.1%}<extra>%{fullData.name}</extra>',
    }));
  }, [rows, kinds.join(), colours]);
  const layout = useMemo(
    () => (): Partial<Layout> => ({
      ...frame(colours),
      showlegend: true,
      legend: { orientation: 'h', y: 1.02, yanchor: 'bottom', x: 0 },
      margin: { l: 52, r: 12, t: 34, b: 60 },
      xaxis: { gridcolor: colours.grid, type: 'category', automargin: true },
      yaxis: { gridcolor: colours.grid, tickformat: '.0%', range: [0, 1.02], zeroline: false },
    }),
    [colours],
  );
  return (
    <Figure
      metric="by-kind"
      title="P2R by kind of question"
      hint="with 95 % intervals"
      traces={traces}
      layout={layout}
      file={`${experiment}-by-kind`}
      canLog={false}
    />
  );
}

function ThroughputChart({ rows, colours, experiment }: ChartProps) {
  const timed = useMemo(() => rows.filter(({ samples_per_second }) => samples_per_second !== null), [rows]);
  const traces = useMemo(
    (): Data[] =>
      [...new Set(timed.map(({ strategy }) => strategy))].map((strategy) => {
        const own = timed.filter((row) => row.strategy === strategy);
        const { colour, symbol } = strategyLook(strategy, colours);
        return {
          type: 'scatter',
          mode: 'markers',
          name: plainText(strategy),
          x: own.map(({ samples_per_second }) => samples_per_second),
          y: own.map(({ accuracy }) => accuracy),
          error_y: intervals(own, colour, { thickness: 1, width: 4 }),
          marker: { color: colour, size: 10, symbol },
          customdata: own.map((row) => plainText(nameOf(row))),
          hovertemplate: '%{customdata}: %{y:.1%}, %{x:.3~g} answers/s<extra></extra>',
        };
      }),
    [timed, colours],
  );
  const layout = useMemo(
    () => (): Partial<Layout> => ({
      ...frame(colours),
      showlegend: true,
      legend: { orientation: 'h', y: 1.02, yanchor: 'bottom', x: 0 },
      margin: { l: 52, r: 12, t: 34, b: 44 },
      xaxis: {
        gridcolor: colours.grid,
        rangemode: 'tozero',
        zeroline: false,
        title: { text: 'answers a second', standoff: 4, font: { size: 11 } },
      },
      yaxis: { gridcolor: colours.grid, tickformat: '.0%', zeroline: false },
    }),
    [colours],
  );
  if (timed.length === 0) return null;
  return (
    <Figure
      metric="throughput"
      title="Accuracy against throughput"
      hint="as the paper's Figure 11; time of a whole evaluation"
      traces={traces}
      layout={layout}
      file={`${experiment}-throughput`}
      canLog={false}
    />
  );
}

function Pair({ detail, rows }: { detail: ExperimentDetail; rows: EvaluationRow[] }) {
  const [parameters, change] = useParameters();
  const options = rows.map((row): [string, string] => [columnOf(row), nameOf(row)]);
  const p2r = rows.filter(({ strategy }) => strategy === 'p2r').map(columnOf);
  const a = parameters.get('a') ?? p2r[0] ?? options[0]?.[0] ?? '';
  const b = parameters.get('b') ?? (p2r.length > 1 ? p2r.at(-1) : undefined) ?? options.at(-1)?.[0] ?? '';
  const sample = parameters.get('sample');
  const live = useLive();
  const { data, error } = useResource<PairedView>(
    a === b ? null : apiAddress(['experiments', detail.experiment, 'pairs'], { a, b }),
    live.experiment,
  );
  const nameA = options.find(([value]) => value === a)?.[1] ?? a;
  const nameB = options.find(([value]) => value === b)?.[1] ?? b;
  return (
    <section class="pair">
      <h2>Two columns on the same samples</h2>
      <form class="toolbar" onSubmit={(event) => event.preventDefault()}>
        <Choice
          label="A"
          value={a}
          options={options}
          change={(value) => change({ a: value, sample: null })}
        />
        <Choice
          label="B"
          value={b}
          options={options}
          change={(value) => change({ b: value, sample: null })}
        />
      </form>
      {a === b ? (
        <p class="soft">Choose two different columns.</p>
      ) : error?.code === 'not-found' ? (
        <Notice title="No answers to compare">{error.message}</Notice>
      ) : error !== null ? (
        <Trouble what="The two could not be compared" error={error} />
      ) : data === null ? null : (
        <>
          <p class="difference">
            B minus A: <strong>{points(data.difference)}</strong>{' '}
            <span class="soft">
              (95 % bootstrap interval {points(data.interval[0])} to {points(data.interval[1])}; exact McNemar
              test p {data.p_value < 0.001 ? '< 0.001' : `= ${data.p_value.toFixed(3)}`}; n = {data.count})
            </span>
          </p>
          <Table
            caption="Samples by who answered right"
            columns={['', `B right (${nameB})`, 'B wrong']}
            numeric={[1, 2]}
            rows={[
              [`A right (${nameA})`, String(data.both_right), String(data.only_a)],
              ['A wrong', String(data.only_b), String(data.both_wrong)],
            ]}
          />
          <Changed data={data} sample={sample} choose={(id) => change({ sample: id })} />
        </>
      )}
      {sample === null ? null : <History experiment={detail.experiment} sample={sample} />}
    </section>
  );
}

const points = (difference: number) =>
  `${difference > 0 ? '+' : difference < 0 ? '−' : ''}${Math.abs(difference * 100).toFixed(1)} points`;

function Changed(props: { data: PairedView; sample: string | null; choose: (id: string) => void }) {
  const list = (better: 'a' | 'b', title: string) => {
    const own = props.data.changed.filter((item) => item.better === better);
    return (
      <details open={own.length > 0 && own.length <= 60}>
        <summary>
          {title} ({own.length})
        </summary>
        <SampleChips samples={own} chosen={props.sample} choose={props.choose} />
      </details>
    );
  };
  return (
    <div class="changed">
      {list('b', 'Only B answered right')}
      {list('a', 'Only A answered right')}
    </div>
  );
}

/** The strategies of one checkpoint against each other, sample by sample; nothing where each was asked with one strategy. */
function Strategies({ detail, rows }: { detail: ExperimentDetail; rows: EvaluationRow[] }) {
  const [parameters, change] = useParameters();
  const live = useLive();
  const several = [...Map.groupBy(rows, ({ evaluation }) => evaluation).values()].filter(
    (same) => same.length > 1,
  );
  const options = several.flatMap(([first]): [string, string][] =>
    first === undefined ? [] : [[first.evaluation, partName(first.checkpoint)]],
  );
  const wanted = parameters.get('of');
  const chosen = options.find(([id]) => id === wanted)?.[0] ?? options.at(-1)?.[0] ?? null;
  const pattern = parameters.get('pattern');
  const { data, error } = useResource<StrategyAnswers>(
    chosen === null
      ? null
      : apiAddress(['experiments', detail.experiment, 'answers'], { evaluation: chosen }),
    live.experiment,
  );
  if (chosen === null) return null;
  const shown = data?.patterns.find(({ right }) => codeOf(right) === pattern);
  return (
    <section class="pair">
      <h2>Strategies, sample by sample</h2>
      <form class="toolbar" onSubmit={(event) => event.preventDefault()}>
        <Choice
          label="Checkpoint"
          value={chosen}
          options={options}
          change={(of) => change({ of, pattern: null, sample: null })}
        />
      </form>
      {error !== null && data === null ? (
        <Notice title="No answers to look at">{error.message}</Notice>
      ) : data === null ? null : (
        <>
          <Table
            caption={`Of ${data.samples} samples, how many the row's strategy answered right and the column's wrong; on the diagonal, all that it answered right`}
            columns={['Right', ...data.strategies.map((strategy) => `${strategy} wrong`)]}
            numeric={data.strategies.map((_, index) => index + 1)}
            rows={data.confusion.map((counts, a) => [
              data.strategies[a],
              ...counts.map((count, b) =>
                a === b ? <strong title="all that it answered right">{count} right</strong> : String(count),
              ),
            ])}
          />
          {data.attribution === null ? null : (
            <Table
              caption="Where errors come from: its own boxes against the true ones"
              columns={['', 'Samples']}
              numeric={[1]}
              rows={ATTRIBUTION.map(([name, title]) => [title, number(data.attribution?.[name])])}
            />
          )}
          <Table
            caption="Who was right together; choose a row to see its samples"
            columns={['Samples', ...data.strategies, '']}
            numeric={[0]}
            rows={data.patterns.map(({ right, samples }) => [
              String(samples.length),
              ...right.map((one) => <Verdict correct={one} />),
              <button
                type="button"
                aria-pressed={codeOf(right) === pattern}
                onClick={() =>
                  change({ pattern: codeOf(right) === pattern ? null : codeOf(right), sample: null })
                }
              >
                {codeOf(right) === pattern ? 'Hide samples' : 'Show samples'}
              </button>,
            ])}
          />
          {shown === undefined ? null : (
            <SampleChips
              samples={shown.samples}
              chosen={parameters.get('sample')}
              choose={(id) => change({ sample: id })}
            />
          )}
        </>
      )}
    </section>
  );
}

/** What the four cases of attribution are called. */
const ATTRIBUTION = [
  ['robust', 'right with both'],
  ['perception_limited', 'right with true boxes only (perception)'],
  ['reasoning_limited', 'wrong with both (reasoning)'],
  ['oracle_harmed', 'right with its own boxes only'],
  ['hint_harmed', 'right without boxes, wrong with its own'],
] as const;

/** "101": which strategies were right, as an address keeps it. */
const codeOf = (right: boolean[]) => right.map(Number).join('');

function SampleChips(props: {
  samples: { sample_id: string; kind: string }[];
  chosen: string | null;
  choose: (id: string) => void;
}) {
  return (
    <ul class="chips">
      {props.samples.map(({ sample_id, kind }) => (
        <li key={sample_id}>
          <button
            type="button"
            aria-pressed={props.chosen === sample_id}
            onClick={() => props.choose(sample_id)}
          >
            {sample_id} <small>{kind}</small>
          </button>
        </li>
      ))}
    </ul>
  );
}

/** The same held-out sample over the checkpoints. */
function History({ experiment, sample }: { experiment: string; sample: string }) {
  const { data, error } = useResource<SampleHistory>(
    apiAddress(['experiments', experiment, 'predictions'], { sample }),
  );
  if (data === null)
    return error === null ? null : <Trouble what="The sample could not be read" error={error} />;
  return (
    <section class="history">
      <h3>
        <code>{sample}</code> over the checkpoints
      </h3>
      {data.sample === null ? null : (
        <p class="question">
          {data.sample.question} <span class="soft">(answer: {data.sample.answer})</span>
        </p>
      )}
      <ul class="gallery strip" data-size="s">
        {data.predictions.map((prediction) => (
          <li key={`${prediction.evaluation} ${prediction.strategy}`}>
            <article class="card">
              <header>
                <span>
                  {partName(prediction.checkpoint)}, {prediction.strategy}
                </span>
                <Verdict correct={prediction.correct} />
              </header>
              {data.sample === null ? null : (
                <>
                  <BoxedImage
                    sample={data.sample}
                    boxes={prediction.boxes}
                    shown={{ predicted: true, truth: true }}
                  />
                  <Crops sample={data.sample} crops={prediction.crops} />
                </>
              )}
              {prediction.perceiver_text === null ? null : (
                <Said title="perceiver" text={prediction.perceiver_text} />
              )}
              <Said title={prediction.strategy === 'direct' ? 'model' : 'reasoner'} text={prediction.text} />
            </article>
          </li>
        ))}
      </ul>
    </section>
  );
}
