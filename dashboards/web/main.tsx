/** The page: its head, and the view that the address asks for. */
import { render } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { LiveContext, useStream } from './live.tsx';
import { ComparePage } from './pages/compare.tsx';
import { curvesAddress } from './pages/curves.tsx';
import { ExperimentPage } from './pages/experiment.tsx';
import { ExperimentsPage } from './pages/experiments.tsx';
import { SystemPage } from './pages/system.tsx';
import { Notice } from './parts.tsx';
import { loadPlotly } from './plotting.ts';
import { apiAddress, askEarly } from './requests.ts';
import { Link, useAddress } from './router.tsx';

const THEMES = ['auto', 'light', 'dark'] as const;
type Theme = (typeof THEMES)[number];

function storedTheme(): Theme {
  const stored = localStorage.getItem('p2r-theme');
  return THEMES.find((theme) => theme === stored) ?? 'auto';
}

const darkScheme = matchMedia('(prefers-color-scheme: dark)');

function applyTheme(theme: Theme): void {
  const auto = darkScheme.matches ? 'dark' : 'light';
  document.documentElement.dataset.theme = theme === 'auto' ? auto : theme;
  dispatchEvent(new Event('p2r-theme'));
}

function ThemeButton() {
  const [theme, setTheme] = useState(storedTheme);
  useEffect(() => {
    localStorage.setItem('p2r-theme', theme);
    applyTheme(theme);
  }, [theme]);
  const next = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length] ?? 'auto';
  return (
    <button
      type="button"
      class="quiet"
      onClick={() => setTheme(next)}
      aria-label={`Theme: ${theme}. Change to ${next}.`}
    >
      {theme === 'auto' ? '◐' : theme === 'light' ? '☀' : '☾'}
    </button>
  );
}

/** The experiment and the view that a path names. */
function experimentIn(pathname: string): { experiment: string | null; view: string } {
  const [, experiment, view = ''] = /^\/experiments\/([^/]+)(?:\/([^/]+))?$/.exec(pathname) ?? [];
  return { experiment: experiment === undefined ? null : decodeURIComponent(experiment), view };
}

function Page() {
  const { pathname } = useAddress();
  const { experiment, view } = experimentIn(pathname);
  const live = useStream(experiment);
  return (
    <LiveContext.Provider value={live}>
      <a class="skip" href="#main">
        Skip to content
      </a>
      <header class="top">
        <Link to="/" class="brand">
          <svg class="brand-mark" viewBox="0 0 24 24" aria-hidden="true">
            <rect x="1.5" y="1.5" width="21" height="21" rx="4" />
            <rect class="brand-box" x="10" y="5.5" width="8.5" height="8.5" rx="1" />
            <path d="M5 18.5h14" />
          </svg>
          <span>P2R Lab</span>
        </Link>
        <nav aria-label="Pages">
          <Link to="/" current={pathname === '/'}>
            Experiments
          </Link>
          <Link to="/system" current={pathname === '/system'}>
            System
          </Link>
        </nav>
        <p class="link" data-up={String(live.up)} role="status" aria-live="polite">
          {live.up ? 'live' : 'not connected, trying again'}
        </p>
        <ThemeButton />
      </header>
      <main id="main" tabIndex={-1}>
        {experiment !== null ? (
          <ExperimentPage experiment={experiment} view={view} />
        ) : pathname === '/' ? (
          <ExperimentsPage />
        ) : pathname === '/compare' ? (
          <ComparePage />
        ) : pathname === '/system' ? (
          <SystemPage />
        ) : (
          <Notice title="There is no such page">
            Go back to the <Link to="/">experiments</Link>.
          </Notice>
        )}
      </main>
    </LiveContext.Provider>
  );
}

applyTheme(storedTheme());
const first = experimentIn(location.pathname);
if (first.experiment !== null) {
  const parameters = new URLSearchParams(location.search);
  askEarly(apiAddress(['experiments', first.experiment]));
  if (first.view === '' && parameters.get('more') === null)
    askEarly(curvesAddress(first.experiment, parameters, []));
}
// Charts will be wanted: plotly comes while the data is asked for.
if (!['/', '/system'].includes(location.pathname)) void loadPlotly();
darkScheme.addEventListener('change', () => applyTheme(storedTheme()));
render(<Page />, document.body);
