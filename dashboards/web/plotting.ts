/** Plotly, loaded once and only by pages with charts: it is most of what there is to load. */
export type Plotly = typeof import('plotly.js-basic-dist-min').default;

let loading: Promise<Plotly> | null = null;

/** Begins to load plotly, or waits for it. */
export function loadPlotly(): Promise<Plotly> {
  loading ??= import('plotly.js-basic-dist-min').then((module) => module.default);
  return loading;
}
