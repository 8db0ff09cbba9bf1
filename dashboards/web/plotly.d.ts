/** The bundle has the whole API's shape, with fewer trace types; `Fx` is missing from the published types. */
declare module 'plotly.js-basic-dist-min' {
  import * as Plotly from 'plotly.js';

  const bundle: typeof Plotly & {
    Fx: {
      /** Shows the hover labels at a place on the axes; `silent` raises no event. */
      hover(chart: HTMLElement, at: { xval: number; yval: number }, subplot: string, silent: boolean): void;
      unhover(chart: HTMLElement): void;
    };
  };
  export default bundle;
}
