/** A plotly chart in the page: drawn again when its data changes, zoomed and hovered together with its neighbours. */

import type { Config, Data, Layout, PlotlyHTMLElement } from 'plotly.js';
import type { ComponentChildren } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { type Palette, palette } from './palette.ts';
import { loadPlotly, type Plotly } from './plotting.ts';
import { useParameters } from './router.tsx';

const CONFIG: Partial<Config> = { displayModeBar: false, responsive: false, doubleClick: false };

/** Charts on the page that show the same step axis. */
const neighbours = new Set<HTMLElement>();

function hoverTogether(plotly: Plotly, source: HTMLElement, x: number | null): void {
  for (const chart of neighbours) {
    if (chart === source || !isVisible(chart)) continue;
    if (x === null) plotly.Fx.unhover(chart);
    else plotly.Fx.hover(chart, { xval: x, yval: 0 }, 'xy', true);
  }
}

function isVisible(chart: HTMLElement): boolean {
  const { top, bottom } = chart.getBoundingClientRect();
  return bottom > 0 && top < innerHeight;
}

/** Charts that wait to be drawn, each with its newest wish. */
const waiting = new Map<HTMLElement, () => void>();
/** Drawing goes on for this long before the page is painted. */
const FRAME_MS = 12;
let drawing = false;

/** Charts that come into sight are drawn again if they have something new to show. */
const sight = new IntersectionObserver((entries) => {
  if (entries.some(({ isIntersecting, target }) => isIntersecting && waiting.has(target as HTMLElement)))
    drawOn();
});

/**
 * Draws when the page is next painted: charts in sight first, and the first of many without waiting for the others. A chart that has been
 * drawn is drawn again only in sight: a live run redraws what somebody looks at.
 */
function drawSoon(chart: HTMLElement, draw: () => void): void {
  waiting.set(chart, draw);
  drawOn();
}

function drawOn(): void {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(drawWaiting);
}

function drawWaiting(): void {
  const begin = performance.now();
  drawing = false;
  for (;;) {
    const charts = [...waiting.keys()];
    const next = charts.find(isVisible) ?? charts.find(({ dataset }) => dataset.drawn === undefined);
    if (next === undefined) return;
    if (performance.now() - begin >= FRAME_MS) {
      drawOn();
      return;
    }
    const draw = waiting.get(next);
    waiting.delete(next);
    draw?.();
  }
}

/** Keeps the colours that hold now: they change with the theme. */
export function usePalette(): Palette {
  const [colours, setColours] = useState(palette);
  useEffect(() => {
    const read = () => setColours(palette());
    addEventListener('p2r-theme', read);
    return () => removeEventListener('p2r-theme', read);
  }, []);
  return colours;
}

/** What a chart shows; `layout` is asked for with the width in pixels. */
export type FigureProps = {
  metric: string;
  title: string;
  hint?: string;
  value?: string;
  /** Null while there is nothing to draw yet. */
  traces: Data[] | null;
  layout: (width: number, log: boolean) => Partial<Layout>;
  /** Name of downloaded files, without ending. */
  file: string;
  /** Address of the numbers as CSV. */
  csv?: string;
  /** The window of steps; set by dragging, by keys, and back to null for the whole run. */
  window?: [number, number] | null;
  setWindow?: (window: [number, number] | null) => void;
  whole?: [number, number];
  legend?: ComponentChildren;
  canLog?: boolean;
};

/** A chart with its title and its menu. With the keyboard: + and - zoom, the arrows move, 0 shows the whole run. */
export function Figure(props: FigureProps) {
  const place = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(0);
  const [parameters, change] = useParameters();
  const logs = (parameters.get('log') ?? '').split(',').filter(Boolean);
  const log = props.canLog !== false && logs.includes(props.metric);
  const setLog = (on: boolean) =>
    change({
      log: [...logs.filter((metric) => metric !== props.metric), ...(on ? [props.metric] : [])].join(),
    });
  const latest = useRef(props);
  latest.current = props;

  useEffect(() => {
    const chart = place.current;
    if (chart === null) return;
    const observer = new ResizeObserver(([entry]) => setWidth(Math.round(entry?.contentRect.width ?? 0)));
    observer.observe(chart);
    sight.observe(chart);
    return () => {
      observer.disconnect();
      sight.unobserve(chart);
      neighbours.delete(chart);
      waiting.delete(chart);
      void loadPlotly().then((plotly) => plotly.purge(chart));
    };
  }, []);

  useEffect(() => {
    const chart = place.current;
    const { traces } = props;
    if (chart === null || width === 0 || traces === null) return;
    const layout = { ...props.layout(width, log), width, height: chart.clientHeight, autosize: false };
    void loadPlotly().then((plotly) => {
      if (!chart.isConnected) return;
      drawSoon(chart, () => {
        const first = !chart.classList.contains('js-plotly-plot');
        void plotly.react(chart, traces, layout, CONFIG).then((drawn) => {
          chart.dataset.drawn = String(Number(chart.dataset.drawn ?? 0) + 1);
          if (first) listen(plotly, drawn, latest);
        });
      });
    });
  }, [props.traces, props.layout, width, log]);

  const download = async (format: 'svg' | 'png') => {
    if (place.current === null) return;
    const plotly = await loadPlotly();
    const url = await plotly.toImage(place.current as unknown as PlotlyHTMLElement, {
      format,
      width: 900,
      height: 480,
      scale: format === 'png' ? 2 : 1,
    });
    const link = document.createElement('a');
    link.href = url;
    link.download = `${props.file}.${format}`;
    link.click();
  };

  const keys = (event: KeyboardEvent) => {
    const { window, setWindow, whole } = props;
    if (setWindow === undefined || whole === undefined) return;
    const [low, high] = window ?? whole;
    const size = high - low;
    const next: Record<string, [number, number] | null> = {
      '+': [low + size / 4, high - size / 4],
      '-': [low - size / 2, high + size / 2],
      ArrowLeft: [low - size / 4, high - size / 4],
      ArrowRight: [low + size / 4, high + size / 4],
      '0': null,
    };
    const wish = next[event.key];
    if (wish === undefined) return;
    event.preventDefault();
    if (wish === null) setWindow(null);
    else {
      const from = Math.max(whole[0], wish[0]);
      const to = Math.min(whole[1], wish[1]);
      if (to - from >= 1) setWindow(from <= whole[0] && to >= whole[1] ? null : [from, to]);
    }
  };

  return (
    <figure class="chart" data-metric={props.metric}>
      <figcaption>
        <span class="chart-title">{props.title}</span>
        {props.hint ? <span class="chart-hint">{props.hint}</span> : null}
        {props.value === undefined ? null : <span class="chart-value">{props.value}</span>}
        <details class="menu">
          <summary aria-label={`Menu of ${props.title}`}>⋯</summary>
          <div class="menu-list">
            {props.canLog === false ? null : (
              <button type="button" aria-pressed={log} onClick={() => setLog(!log)}>
                {log ? 'Linear axis' : 'Log axis'}
              </button>
            )}
            <button type="button" onClick={() => void download('svg')}>
              Download SVG
            </button>
            <button type="button" onClick={() => void download('png')}>
              Download PNG
            </button>
            {props.csv === undefined ? null : (
              <a href={props.csv} download={`${props.file}.csv`}>
                Download CSV
              </a>
            )}
          </div>
        </details>
      </figcaption>
      {props.legend}
      <div
        ref={place}
        class="plot"
        role="img"
        aria-label={`${props.title}${props.value === undefined ? '' : `, newest value ${props.value}`}`}
        // biome-ignore lint/a11y/noNoninteractiveTabindex: zoomed and moved by keyboard
        tabIndex={0}
        onKeyDown={keys}
      />
    </figure>
  );
}

function listen(plotly: Plotly, chart: PlotlyHTMLElement, latest: { current: FigureProps }): void {
  if (latest.current.setWindow === undefined) return;
  neighbours.add(chart);
  chart.on('plotly_relayout', (change) => {
    const [from, to] = [change['xaxis.range[0]'], change['xaxis.range[1]']];
    if (typeof from === 'number' && typeof to === 'number')
      latest.current.setWindow?.([Math.max(0, from), Math.max(1, to)]);
  });
  chart.on('plotly_doubleclick', () => latest.current.setWindow?.(null));
  chart.on('plotly_hover', ({ points }) => hoverTogether(plotly, chart, Number(points[0]?.x)));
  chart.on('plotly_unhover', () => hoverTogether(plotly, chart, null));
}
