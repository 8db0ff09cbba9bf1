/** Looks at a disturbed experiment all the time, and notes what must never be seen. */
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { committedSteps } from '../../store/checkpoints.ts';
import { readJsonLines } from '../../store/files.ts';
import { listAttempts, MetricRow } from '../../store/metrics.ts';
import type { Stack } from './stack.ts';

/** Time between two looks at the processes, in ms. */
const INTERVAL_MS = 200;

/** What the watcher knows of an attempt that has no row yet: the newest checkpoint when it was last looked at. */
type Expectation = { committed: number };

/** Watches until disposed. `violations` are sentences; there should be none. */
export class Watcher {
  readonly violations: string[] = [];
  readonly #stack: Stack;
  readonly #expected = new Map<string, Expectation | 'judged'>();
  readonly #abort = new AbortController();
  #looks = 0;
  #running: Promise<void> = Promise.resolve();

  constructor(stack: Stack) {
    this.#stack = stack;
  }

  /** Begins to look. */
  start(): void {
    this.#running = this.#run();
  }

  /** Number of looks so far. */
  get looks(): number {
    return this.#looks;
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    while (!this.#abort.signal.aborted) {
      await this.#trainers();
      await this.#resumptions();
      this.#looks++;
      await sleep(INTERVAL_MS);
    }
  }

  /** Never two live trainers in one phase. */
  async #trainers(): Promise<void> {
    const alive = new Map<string, { pid: number; attempt: string }[]>();
    for (const name of await readdir('/proc')) {
      if (!/^\d+$/.test(name)) continue;
      const command = await readFile(`/proc/${name}/cmdline`, 'utf8').catch(() => '');
      const job = /p2r_engines\.trl\0(.*\/phases\/([^/]+)\/attempts\/(\d+)\/job\.json)/.exec(command);
      if (job === null || !job[1]?.startsWith(`${this.#stack.home}/`)) continue;
      const state = await readFile(`/proc/${name}/stat`, 'utf8').catch(() => ' ) X ');
      if (/^ [ZX]/.test(state.slice(state.lastIndexOf(')') + 1))) continue;
      const known = alive.get(job[2] ?? '') ?? [];
      alive.set(job[2] ?? '', [...known, { pid: Number(name), attempt: job[3] ?? '' }]);
    }
    for (const [key, trainers] of alive)
      if (trainers.length > 1) {
        const who = trainers.map(({ pid, attempt }) => `attempt ${attempt} (pid ${pid})`).join(', ');
        this.#violate(`${trainers.length} trainers at once in ${key}: ${who}`);
      }
  }

  /** An attempt begins with the step after the newest checkpoint that was committed (and not set aside) while it loaded. */
  async #resumptions(): Promise<void> {
    const { store } = this.#stack;
    for (const key of await readdir(store.phases).catch(() => [] as string[])) {
      for (const attempt of await listAttempts(store, key)) {
        const id = `${key}/${attempt}`;
        const known = this.#expected.get(id);
        if (known === 'judged') continue;
        const [first] = await readJsonLines(
          path.join(store.attempt(key, attempt), 'metrics.jsonl'),
          MetricRow,
        );
        if (first === undefined) {
          this.#expected.set(id, { committed: (await committedSteps(store, key)).at(-1) ?? 0 });
          continue;
        }
        this.#expected.set(id, 'judged');
        if (known !== undefined && first.step !== known.committed + 1)
          this.#violate(
            `${id} began with step ${first.step} where step ${known.committed} was the newest committed`,
          );
      }
    }
  }

  #violate(sentence: string): void {
    if (this.violations.includes(sentence)) return;
    this.violations.push(sentence);
    console.error(`VIOLATION: ${sentence}`);
  }
}

/** Steps that were computed more than once so far, over all phases. */
export async function recomputedSteps(stack: Stack): Promise<number> {
  let again = 0;
  for (const key of await readdir(stack.store.phases).catch(() => [] as string[])) {
    const seen = new Set<number>();
    for (const attempt of await listAttempts(stack.store, key)) {
      const file = path.join(stack.store.attempt(key, attempt), 'metrics.jsonl');
      for (const { step } of await readJsonLines(file, MetricRow)) {
        if (seen.has(step)) again++;
        seen.add(step);
      }
    }
  }
  return again;
}
