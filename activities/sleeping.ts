/** vLLM servers on GPUs that the trainer needs as well: awake while they are asked, asleep while it updates (vLLM's sleep mode, level 1). */
import { setTimeout as pause } from 'node:timers/promises';

type Server = { open: number; awake: boolean; change: Promise<void>; idle: AbortController };

/** Time that moving the weights between GPU and main memory may take. */
const CHANGE_TIMEOUT_MS = 120_000;

/**
 * Wakes servers before they are asked and sends them to sleep when no request has been open for a while. One object may look after a
 * server at a time: requests of others would reach it asleep.
 */
export class SleepingServers {
  readonly #servers = new Map<string, Server>();
  readonly #request: typeof fetch;

  constructor(request: typeof fetch = fetch) {
    this.#request = request;
  }

  /** Runs `ask` while the server of `url` is awake; `idleSeconds` after the last one it is sent to sleep. Rejects as waking or `ask` does. */
  async run<T>(url: string, idleSeconds: number, ask: () => Promise<T>): Promise<T> {
    // Whether a server that is new to this process is awake is not known: waking an awake one changes nothing.
    const fresh = { open: 0, awake: false, change: Promise.resolve(), idle: new AbortController() };
    const server = this.#servers.get(url) ?? fresh;
    this.#servers.set(url, server);
    server.open++;
    server.idle.abort();
    try {
      await this.#change(server, async () => {
        if (!server.awake) await this.#post(url, '/wake_up');
        server.awake = true;
      });
      return await ask();
    } finally {
      server.open--;
      if (server.open === 0) void this.#sleepLater(url, server, idleSeconds);
    }
  }

  async #sleepLater(url: string, server: Server, idleSeconds: number): Promise<void> {
    const idle = new AbortController();
    server.idle = idle;
    try {
      await pause(1000 * idleSeconds, undefined, { signal: idle.signal, ref: false });
    } catch {
      return;
    }
    await this.#change(server, async () => {
      if (server.open > 0 || !server.awake) return;
      // Asked for is taken for asleep: the answer may be lost.
      server.awake = false;
      await this.#post(url, '/sleep?level=1');
    }).catch((error: Error) => {
      console.error(`${url} did not go to sleep, so the trainer may lack memory: ${error.message}`);
    });
  }

  /** One change of a server's state after the other. */
  #change(server: Server, change: () => Promise<void>): Promise<void> {
    const next = server.change.then(change);
    server.change = next.catch(() => undefined);
    return next;
  }

  async #post(url: string, path: string): Promise<void> {
    const signal = AbortSignal.timeout(CHANGE_TIMEOUT_MS);
    const response = await this.#request(new URL(path, url), { method: 'POST', signal });
    if (!response.ok) throw new Error(`${path} says ${response.status}`);
  }
}
