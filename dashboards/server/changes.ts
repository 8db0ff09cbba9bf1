/** Notices of what has grown on disk, for pages that are open. Nothing is looked at while no page listens. */
import { randomBytes } from 'node:crypto';
import { type FSWatcher, watch } from 'node:fs';
import path from 'node:path';
import { evaluationFiles } from '../../store/evaluations.ts';
import type { Store } from '../../store/layout.ts';
import { listAttempts } from '../../store/metrics.ts';
import type { StreamEvent } from './api.ts';
import { experimentNames, type Runs } from './runs.ts';
import { fileSignature } from './tail.ts';

/** One notice: what changed, in which experiment. */
export type Notice = { id: string; event: StreamEvent; experiment: string };

/** A page that listens: to one experiment, or to all of them (null). */
export type Listener = { experiment: string | null; notify: (notice: Notice) => void };

/** Looks at the files this often where the file system itself reports nothing. */
const LOOK_EVERY_MS = 400;
/** File-system reports within this time are answered by one look. */
const SETTLE_MS = 40;
/** Notices kept for pages that come back. */
const KEPT_NOTICES = 2000;

/** The notices of one home. */
export type Changes = ReturnType<typeof followChanges>;

/** Follows a home; `close` ends all watching. `onError` hears of files that could not be looked at. */
export function followChanges(store: Store, runs: Runs, onError: (error: unknown) => void) {
  // Ids start with a word that is this process's own: after a restart no page can mistake a new notice for an old one.
  const epoch = randomBytes(6).toString('hex');
  // A listener hears nothing until its first notice (hello, reset or what it missed) has been sent.
  const listeners = new Map<Listener, { greeted: boolean }>();
  const notices: Notice[] = [];
  const signatures = new Map<string, { curves: string; rest: string }>();
  const watchers = new Map<string, FSWatcher>();
  let sequence = 0;
  let timer: NodeJS.Timeout | null = null;
  let looking: Promise<void> | null = null;
  let closed = false;

  function publish(event: StreamEvent, experiment: string): void {
    const notice = { id: `${epoch}-${++sequence}`, event, experiment };
    notices.push(notice);
    if (notices.length > KEPT_NOTICES) notices.shift();
    for (const [listener, { greeted }] of listeners)
      if (greeted && concerns(listener, notice)) listener.notify(notice);
  }

  function watchDirectory(directory: string): void {
    if (watchers.has(directory)) return;
    try {
      const watcher = watch(directory, { persistent: false }, () => schedule(SETTLE_MS));
      watcher.on('error', () => forget(directory));
      watchers.set(directory, watcher);
    } catch {
      // Not there yet, or a file system that cannot report: the regular look finds its changes.
    }
  }

  function forget(directory: string): void {
    watchers.get(directory)?.close();
    watchers.delete(directory);
  }

  function rest(): void {
    if (timer !== null) clearTimeout(timer);
    timer = null;
    for (const directory of [...watchers.keys()]) forget(directory);
  }

  function schedule(delay: number): void {
    if (closed || listeners.size === 0) return;
    if (timer !== null) {
      if (delay >= LOOK_EVERY_MS) return;
      clearTimeout(timer);
    }
    timer = setTimeout(() => {
      timer = null;
      void look().finally(() => schedule(LOOK_EVERY_MS));
    }, delay);
  }

  /** One look at everything that somebody listens to; looks never overlap. */
  function look(): Promise<void> {
    looking ??= lookOnce().finally(() => {
      looking = null;
    });
    return looking;
  }

  async function lookOnce(): Promise<void> {
    try {
      const single = new Set([...listeners.keys()].flatMap((listener) => listener.experiment ?? []));
      const all = [...listeners.keys()].some((listener) => listener.experiment === null);
      const watched = new Set<string>();
      if (all) watched.add(store.runs);
      for (const experiment of all ? new Set([...(await experimentNames(store)), ...single]) : single) {
        await lookAt(experiment, single.has(experiment), watched);
      }
      if (listeners.size === 0) return;
      for (const directory of watched) watchDirectory(directory);
      for (const directory of watchers.keys()) if (!watched.has(directory)) forget(directory);
    } catch (error) {
      onError(error);
    }
  }

  async function lookAt(experiment: string, closely: boolean, watched: Set<string>): Promise<void> {
    const now = await signatureOf(experiment, closely, watched);
    const before = signatures.get(experiment);
    signatures.set(experiment, now);
    if (before === undefined) return;
    if (before.rest !== now.rest) publish('experiment-changed', experiment);
    if (before.curves !== now.curves) publish('curves-changed', experiment);
  }

  async function signatureOf(experiment: string, closely: boolean, watched: Set<string>) {
    watched.add(store.run(experiment));
    const other = [
      await fileSignature(store.experimentFile(experiment)),
      await fileSignature(store.eventsFile(experiment)),
    ];
    const curves: string[] = [];
    const record = await runs.record(experiment).catch(() => null);
    // On the list an experiment that has ended cannot change without an event; its many files are left alone.
    if (record === null || !(closely || (await runs.isRunning(experiment))))
      return { rest: other.join(), curves: signatures.get(experiment)?.curves ?? '' };
    for (const { key } of record.phases) {
      const attempts = await listAttempts(store, key);
      const newest = attempts.at(-1);
      if (newest !== undefined) watched.add(store.attempt(key, newest));
      for (const attempt of attempts)
        curves.push(await fileSignature(path.join(store.attempt(key, attempt), 'metrics.jsonl')));
    }
    for (const { key } of record.evaluations)
      other.push(await fileSignature(evaluationFiles(store, key).scores));
    return { rest: other.join(), curves: curves.join() };
  }

  /** Notices after the one that a page saw last, or null when they are no longer known. */
  function missed(lastId: string, listener: Listener): Notice[] | null {
    const match = /^([0-9a-f]+)-(\d+)$/.exec(lastId);
    const seen = Number(match?.[2]);
    const oldest = sequence - notices.length;
    if (match?.[1] !== epoch || seen > sequence || seen < oldest) return null;
    return notices.slice(seen - oldest).filter((notice) => concerns(listener, notice));
  }

  return {
    /**
     * Adds a listener. It first hears `hello` (or, when `lastId` names a notice that is still known, everything it missed since; `reset`
     * when it is not), then every change. Returns how to end it.
     */
    async subscribe(listener: Listener, lastId: string | null): Promise<() => void> {
      const state = { greeted: false };
      listeners.set(listener, state);
      // A look that began before this listener came may not cover its experiment, so a whole new one follows it.
      await look();
      await look();
      const missing = lastId === null ? null : missed(lastId, listener);
      if (missing !== null) for (const notice of missing) listener.notify(notice);
      else {
        const event = lastId === null ? 'hello' : 'reset';
        listener.notify({ id: `${epoch}-${sequence}`, event, experiment: listener.experiment ?? '' });
      }
      state.greeted = true;
      schedule(LOOK_EVERY_MS);
      return () => {
        listeners.delete(listener);
        if (listeners.size === 0) rest();
      };
    },

    /** Number of pages that listen. */
    listening: () => listeners.size,

    /** Number of directories that are watched now. */
    watching: () => watchers.size,

    /** Ends all watching. */
    close(): void {
      closed = true;
      listeners.clear();
      rest();
    },
  };
}

function concerns(listener: Listener, notice: Notice): boolean {
  return listener.experiment === null || listener.experiment === notice.experiment;
}
