/** Colours by role, of Okabe and Ito's palette: told apart with any colour vision, on light and on dark ground. */

/** What the charts need to know of the page's look. */
export type Palette = {
  perceiver: string;
  reasoner: string;
  p2r: string;
  direct: string;
  other: string;
  /** Colours of compared runs. */
  runs: string[];
  ink: string;
  soft: string;
  grid: string;
  panel: string;
};

/** The colours that hold now; they are defined once, in style.css. */
export function palette(): Palette {
  const style = getComputedStyle(document.documentElement);
  const colour = (name: string) => style.getPropertyValue(`--${name}`).trim();
  return {
    perceiver: colour('perceiver'),
    reasoner: colour('reasoner'),
    p2r: colour('p2r'),
    direct: colour('direct'),
    other: colour('other'),
    runs: [1, 2, 3, 4, 5, 6, 7, 8].map((n) => colour(`run-${n}`)),
    ink: colour('ink'),
    soft: colour('soft'),
    grid: colour('grid'),
    panel: colour('panel'),
  };
}
