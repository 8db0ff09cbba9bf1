/** Finds a server that lives but does not answer any more: frozen, deadlocked, or behind a dead connection. */

const INTERVAL_MS = 2000;
const PATIENCE_MS = 8000;
const MISSES = 3;

/** Asks a server's health page again and again in the background. */
export class Pulse {
  readonly #url: URL;
  readonly #interval: number;
  readonly #patience: number;
  #asked = 0;
  #asking = false;
  #missed = 0;

  /** `url`: a page that a healthy server answers at once; whatever it says counts as an answer. Times in ms. */
  constructor(url: URL, { interval = INTERVAL_MS, patience = PATIENCE_MS } = {}) {
    this.#url = url;
    this.#interval = interval;
    this.#patience = patience;
  }

  /**
   * Whether the server has left three questions in a row unanswered for 8 s each. Questions are counted, not time, so that a worker that was
   * frozen itself does not blame the server.
   */
  get isLost(): boolean {
    if (!this.#asking && Date.now() - this.#asked >= this.#interval) {
      this.#asking = true;
      this.#asked = Date.now();
      void this.#ask();
    }
    return this.#missed >= MISSES;
  }

  async #ask(): Promise<void> {
    const response = await fetch(this.#url, { signal: AbortSignal.timeout(this.#patience) }).catch(
      () => null,
    );
    await response?.body?.cancel().catch(() => undefined);
    this.#missed = response === null ? this.#missed + 1 : 0;
    this.#asking = false;
  }
}
