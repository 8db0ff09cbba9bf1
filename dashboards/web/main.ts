/** The page: a list of experiments, or the live curves of one. Everything from data is set as text. */

type Curves = {
  experiment: string;
  state: string;
  current: string | null;
  phases: { id: string; role: string; from: number; to: number; step: number; restarts: number[] }[];
  metrics: Record<string, { x: number[]; y: (number | null)[]; role: string }[]>;
  accuracy: { x: number; checkpoint: string; strategy: string; value: number; interval: [number, number] }[];
};

type PlotlyLike = {
  react(element: HTMLElement, data: object[], layout: object, config: object): Promise<unknown>;
};

const plotly = (): PlotlyLike => (window as unknown as { Plotly: PlotlyLike }).Plotly;

/** Okabe-Ito colours: told apart with any colour vision. */
const COLOURS: Record<string, string> = {
  perceiver: '#0072B2',
  reasoner: '#D55E00',
  direct: '#8a8a8a',
  p2r: '#009E73',
};

const TITLES: Record<string, string> = {
  reward_mean: 'Reward',
  hit_rate: 'Hit rate',
  iou: 'Mean IoU',
  box_count: 'Boxes per answer',
  box_size: 'Box size (px)',
  accuracy: 'Held-out accuracy',
};

const main = document.querySelector('#main') as HTMLElement;
const status = document.querySelector('#status') as HTMLElement;

function element<K extends keyof HTMLElementTagNameMap>(tag: K, text = ''): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  made.textContent = text;
  return made;
}

function style(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function layout(title: string, curves: Curves): object {
  const grid = style('--line');
  return {
    title: { text: title, font: { size: 14 }, x: 0.02, xanchor: 'left' },
    margin: { l: 48, r: 14, t: 36, b: 44 },
    paper_bgcolor: 'rgba(0,0,0,0)',
    plot_bgcolor: 'rgba(0,0,0,0)',
    font: { color: style('--ink'), size: 12 },
    showlegend: false,
    hovermode: 'x',
    uirevision: 'keep',
    xaxis: {
      title: { text: 'step', standoff: 8, font: { size: 12 } },
      automargin: true,
      gridcolor: grid,
      zeroline: false,
      range: [-0.5, Math.max(1, curves.phases.at(-1)?.to ?? 1) + 0.5],
    },
    yaxis: { gridcolor: grid, zeroline: false, rangemode: 'tozero' },
    shapes: [
      ...curves.phases.map((phase) => ({
        type: 'rect',
        xref: 'x',
        yref: 'paper',
        x0: phase.from,
        x1: phase.to,
        y0: 0,
        y1: 1,
        line: { width: 0 },
        fillcolor: COLOURS[phase.role],
        opacity: 0.08,
      })),
      ...curves.phases.flatMap((phase) =>
        phase.restarts.map((x) => ({
          type: 'line',
          xref: 'x',
          yref: 'paper',
          x0: x,
          x1: x,
          y0: 0,
          y1: 1,
          line: { dash: 'dot', width: 1, color: style('--soft') },
        })),
      ),
    ],
    annotations: curves.phases.map((phase) => ({
      xref: 'x',
      yref: 'paper',
      x: (phase.from + phase.to) / 2,
      y: 1,
      yanchor: 'bottom',
      showarrow: false,
      text: phase.role,
      font: { size: 11, color: style('--soft') },
    })),
  };
}

function draw(curves: Curves, charts: Map<string, HTMLElement>): void {
  const config = { displaylogo: false, responsive: true };
  for (const [name, chart] of charts) {
    const data =
      name === 'accuracy'
        ? ['direct', 'p2r'].map((strategy) => {
            const points = curves.accuracy.filter((point) => point.strategy === strategy);
            return {
              type: 'scatter',
              mode: 'lines+markers',
              name: strategy,
              x: points.map((point) => point.x),
              y: points.map((point) => point.value),
              error_y: {
                type: 'data',
                symmetric: false,
                array: points.map((point) => point.interval[1] - point.value),
                arrayminus: points.map((point) => point.value - point.interval[0]),
              },
              line: { color: COLOURS[strategy] },
            };
          })
        : (curves.metrics[name] ?? []).map((trace) => ({
            type: 'scatter',
            mode: 'lines+markers',
            marker: { size: 4 },
            name: trace.role,
            x: trace.x,
            y: trace.y,
            line: { color: COLOURS[trace.role], width: 2 },
          }));
    void plotly().react(
      chart,
      data,
      {
        ...layout(TITLES[name] ?? name, curves),
        ...(name === 'accuracy' && {
          showlegend: true,
          legend: {
            orientation: 'h',
            x: 1,
            xanchor: 'right',
            y: 0.04,
            yanchor: 'bottom',
            bgcolor: 'rgba(0,0,0,0)',
          },
        }),
      },
      config,
    );
  }
  const phase = curves.phases.find((candidate) => candidate.id === curves.current);
  const where =
    curves.state === 'running'
      ? ` · ${curves.current ?? ''}${phase ? ` · step ${phase.step} of ${phase.to - phase.from}` : ''}`
      : '';
  status.textContent = `${curves.experiment} · ${curves.state}${where}`;
  document.title = `${curves.experiment} – P2R Lab`;
}

function showExperiment(id: string): void {
  const grid = element('section');
  grid.className = 'charts';
  const charts = new Map<string, HTMLElement>();
  for (const name of Object.keys(TITLES)) {
    const chart = element('div');
    chart.className = 'chart';
    chart.dataset.metric = name;
    charts.set(name, chart);
    grid.append(chart);
  }
  main.replaceChildren(grid);
  const stream = new EventSource(`/api/experiments/${encodeURIComponent(id)}/stream`);
  stream.addEventListener('curves', (event) =>
    draw(JSON.parse((event as MessageEvent<string>).data) as Curves, charts),
  );
  stream.addEventListener('error', () => {
    status.textContent =
      stream.readyState === EventSource.CLOSED
        ? `There is no experiment "${id}". Go back to the list.`
        : 'Connection lost; trying again.';
  });
}

async function showList(): Promise<void> {
  const rows = (await (await fetch('/api/experiments')).json()) as {
    experiment: string;
    study: string;
    seed: number;
    created_at: string;
  }[];
  if (rows.length === 0) {
    main.replaceChildren(element('p', 'No experiments yet. Start one with: npx p2r run tiny-quickstart'));
    return;
  }
  const table = element('table');
  const head = table.createTHead().insertRow();
  for (const title of ['Experiment', 'Study', 'Seed', 'Started']) head.append(element('th', title));
  const body = table.createTBody();
  for (const row of rows) {
    const line = body.insertRow();
    const link = element('a', row.experiment);
    link.href = `/experiments/${encodeURIComponent(row.experiment)}`;
    line.insertCell().append(link);
    for (const text of [row.study, String(row.seed), new Date(row.created_at).toLocaleString()])
      line.insertCell().textContent = text;
  }
  main.replaceChildren(table);
}

const match = /^\/experiments\/([^/]+)$/.exec(location.pathname);
if (match?.[1]) showExperiment(decodeURIComponent(match[1]));
else void showList();
