/** The address is the state: every view, filter and zoom has an address of its own that can be kept and sent. */
import type { ComponentChildren } from 'preact';
import { useCallback, useEffect, useState } from 'preact/hooks';

const CHANGED = 'p2r-address';

/** Goes to an address of this page; `replace` leaves no step to go back to. */
export function go(address: string, replace = false): void {
  if (replace) history.replaceState(null, '', address);
  else history.pushState(null, '', address);
  dispatchEvent(new Event(CHANGED));
}

/** The present address; the component is drawn again when it changes. */
export function useAddress(): URL {
  const [url, setUrl] = useState(() => new URL(location.href));
  useEffect(() => {
    const read = () => setUrl(new URL(location.href));
    addEventListener('popstate', read);
    addEventListener(CHANGED, read);
    return () => {
      removeEventListener('popstate', read);
      removeEventListener(CHANGED, read);
    };
  }, []);
  return url;
}

/** The address's parameters, and a way to change some of them; an empty or null value is taken out. */
export function useParameters(): [URLSearchParams, (change: Record<string, string | number | null>) => void] {
  const parameters = useAddress().searchParams;
  const change = useCallback((values: Record<string, string | number | null>) => {
    const next = new URL(location.href);
    for (const [name, value] of Object.entries(values)) {
      if (value === null || value === '') next.searchParams.delete(name);
      else next.searchParams.set(name, String(value));
    }
    go(`${next.pathname}${next.search}`, true);
  }, []);
  return [parameters, change];
}

/** A link inside the page: no reload, but a real link for the middle button and the keyboard. */
export function Link(props: { to: string; class?: string; current?: boolean; children: ComponentChildren }) {
  return (
    <a
      href={props.to}
      class={props.class}
      aria-current={props.current ? 'page' : undefined}
      onClick={(event) => {
        if (event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
        event.preventDefault();
        go(props.to);
        scrollTo(0, 0);
      }}
    >
      {props.children}
    </a>
  );
}

/** Address of an experiment's view. */
export function experimentAddress(experiment: string, view = '', parameters: Record<string, string> = {}) {
  const search = new URLSearchParams(parameters).toString();
  return `/experiments/${encodeURIComponent(experiment)}${view === '' ? '' : `/${view}`}${search === '' ? '' : `?${search}`}`;
}
