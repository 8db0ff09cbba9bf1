/** What is live: one stream of notices a page, and data that is read again when a notice says so. */
import { createContext } from 'preact';
import { useContext, useEffect, useRef, useState } from 'preact/hooks';
import type { StreamEvent } from '../server/api.ts';
import { forgetEarly, get, RequestError } from './requests.ts';

/** How often the server has said that something changed, and whether it can be heard. */
export type Live = { up: boolean; experiment: number; curves: number };

/** The page's notices. */
export const LiveContext = createContext<Live>({ up: true, experiment: 0, curves: 0 });

/**
 * Opens the page's one stream, about one experiment or all (null). The browser connects again by itself and names the last notice that it
 * saw; notices that came meanwhile are sent then.
 */
export function useStream(experiment: string | null): Live {
  const [live, setLive] = useState<Live>({ up: true, experiment: 0, curves: 0 });
  useEffect(() => {
    const source = new EventSource(
      experiment === null ? '/api/events' : `/api/events?experiment=${encodeURIComponent(experiment)}`,
    );
    const changed = (event: StreamEvent) => {
      if (event !== 'hello') forgetEarly();
      setLive((now) => ({
        up: true,
        experiment: now.experiment + (event === 'hello' ? 0 : 1),
        curves: now.curves + (event === 'hello' || event === 'experiment-changed' ? 0 : 1),
      }));
    };
    const events: StreamEvent[] = ['hello', 'reset', 'experiment-changed', 'curves-changed'];
    for (const event of events) source.addEventListener(event, () => changed(event));
    source.addEventListener('open', () => setLive((now) => ({ ...now, up: true })));
    source.addEventListener('error', () => setLive((now) => ({ ...now, up: false })));
    return () => source.close();
  }, [experiment]);
  return live;
}

/** Data from the server: what was read last and where, and what went wrong last. */
export type Resource<T> = {
  data: T | null;
  error: RequestError | null;
  loading: boolean;
  /** Where the data was read; another address than the one asked for while its answer is under way. */
  address: string | null;
};

/**
 * Reads an address and reads it again whenever `version` grows. One reading at a time: what changes meanwhile is answered by one more,
 * so that a slow machine is not flooded. Another address ends the reading under way. A null address reads nothing.
 */
export function useResource<T>(address: string | null, version = 0): Resource<T> {
  const [state, setState] = useState<Resource<T>>({
    data: null,
    error: null,
    loading: true,
    address,
  });
  const again = useRef(() => {});
  useEffect(() => {
    if (address === null) return;
    const abort = new AbortController();
    let reading = false;
    let wanted = false;
    const read = async () => {
      wanted = true;
      if (reading) return;
      reading = true;
      while (wanted && !abort.signal.aborted) {
        wanted = false;
        setState((now) => ({ ...now, loading: true }));
        try {
          const data = await get<T>(address, abort.signal);
          setState({ data, error: null, loading: false, address });
        } catch (error) {
          if (abort.signal.aborted) return;
          if (!(error instanceof RequestError)) throw error;
          setState((now) => ({ ...now, error, loading: false }));
        }
      }
      reading = false;
    };
    again.current = () => void read();
    again.current();
    return () => abort.abort();
  }, [address]);
  useEffect(() => {
    if (version > 0) again.current();
  }, [version]);
  return state;
}

/** The page's notices, for a component that reads. */
export const useLive = (): Live => useContext(LiveContext);
