/** How many requests may be under way at once, and who goes next. */

type Waiting = { stage: number; order: number; start: () => void };

/** What became of a request, as far as load is concerned: a refusal for load, a time-out, or anything else. */
export type Load = 'fine' | 'overloaded';

/**
 * Slots for requests. Later stages go first: a question that is under way is finished before another is begun, so that few images are
 * held. The number of slots adapts between 1 and `most`: when more than a quarter of the last requests were turned away for load it is
 * halved, and every quiet round gives one back. Single failures therefore change nothing.
 */
export class Slots {
  readonly most: number;
  #limit: number;
  #busy = 0;
  #order = 0;
  #waiting: Waiting[] = [];
  #round = { seen: 0, overloaded: 0 };

  constructor(most: number) {
    if (!Number.isInteger(most) || most < 1)
      throw new RangeError(`Slots must be a whole number of at least 1, got ${most}.`);
    this.most = most;
    this.#limit = most;
  }

  /** Slots in use now. */
  get busy(): number {
    return this.#busy;
  }

  /** Slots there may be in use now. */
  get limit(): number {
    return this.#limit;
  }

  /** Runs `work` in a slot and learns from its load. */
  async run<T>(
    stage: number,
    work: () => Promise<{ load: Load; value: T }>,
    signal?: AbortSignal,
  ): Promise<T> {
    await this.#acquire(stage, signal);
    try {
      const { load, value } = await work();
      this.#learn(load);
      return value;
    } finally {
      this.#busy--;
      this.#admit();
    }
  }

  #acquire(stage: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    return new Promise((resolve, reject) => {
      const abort = () => {
        this.#waiting = this.#waiting.filter((other) => other !== entry);
        reject(signal?.reason);
      };
      const entry: Waiting = {
        stage,
        order: this.#order++,
        start: () => {
          signal?.removeEventListener('abort', abort);
          resolve();
        },
      };
      signal?.addEventListener('abort', abort, { once: true });
      const before = this.#waiting.findIndex((other) => other.stage < stage);
      if (before < 0) this.#waiting.push(entry);
      else this.#waiting.splice(before, 0, entry);
      this.#admit();
    });
  }

  #admit(): void {
    while (this.#busy < this.#limit) {
      const next = this.#waiting.shift();
      if (next === undefined) return;
      this.#busy++;
      next.start();
    }
  }

  #learn(load: Load): void {
    this.#round.seen++;
    if (load === 'overloaded') this.#round.overloaded++;
    if (this.#round.seen < this.#limit) return;
    if (this.#round.overloaded * 4 > this.#round.seen) this.#limit = Math.max(1, Math.floor(this.#limit / 2));
    else if (this.#round.overloaded === 0) this.#limit = Math.min(this.most, this.#limit + 1);
    this.#round = { seen: 0, overloaded: 0 };
  }
}
