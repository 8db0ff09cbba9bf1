/** Several servers of one model behind one list: a request goes to the one with the fewest open, and not to one that just failed. */

/** How long a server that failed is passed over while another one is there. */
const REST_MS = 5000;

/** Picks servers by address. One object per client process; it counts what it has sent itself. */
export class Replicas {
  readonly #open = new Map<string, number>();
  readonly #failedAt = new Map<string, number>();
  readonly #now: () => number;

  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  /**
   * Runs `request` with the best of `urls` (at least one). A rejection rests that address for 5 s and is passed on, so that the caller's
   * next try finds another.
   */
  async run<T>(urls: readonly string[], request: (url: string) => Promise<T>): Promise<T> {
    const url = this.#pick(urls);
    this.#open.set(url, (this.#open.get(url) ?? 0) + 1);
    try {
      const result = await request(url);
      this.#failedAt.delete(url);
      return result;
    } catch (error) {
      this.#failedAt.set(url, this.#now());
      throw error;
    } finally {
      this.#open.set(url, (this.#open.get(url) ?? 1) - 1);
    }
  }

  #pick(urls: readonly string[]): string {
    const rested = urls.filter((url) => this.#now() - (this.#failedAt.get(url) ?? -REST_MS) >= REST_MS);
    const [first, ...others] = rested.length > 0 ? rested : urls;
    if (first === undefined) throw new TypeError('A request needs at least one server.');
    const load = (url: string) => this.#open.get(url) ?? 0;
    return others.reduce((best, url) => (load(url) < load(best) ? url : best), first);
  }
}
