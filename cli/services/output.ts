/** What a service says goes into a log file, and a disk that is full must cost no more than what is said meanwhile. */
import { writeSync } from 'node:fs';

/**
 * Lets stdout and stderr survive a write that fails. Node would destroy the stream at the first ENOSPC and end the process, as nobody
 * listens for the error.
 */
export function surviveFullDisk(): void {
  for (const stream of [process.stdout, process.stderr]) {
    const write = (chunk: string | Uint8Array, ...rest: unknown[]): boolean => {
      try {
        if (typeof chunk === 'string') writeSync(stream.fd, chunk);
        else writeSync(stream.fd, chunk);
      } catch {
        // Said in vain: there is nowhere to say it.
      }
      const done = rest.at(-1);
      if (typeof done === 'function') done();
      return true;
    };
    stream.write = write;
  }
}
