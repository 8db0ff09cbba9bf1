/**
 * One owner per phase: a lease file with a fencing token that only grows. An engine compares its token with the file before
 * every write, so whoever took the lease last is the only one whose checkpoints count.
 */
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { readJson, writeJson } from './files.ts';
import type { Store } from './layout.ts';

export const Lease = z.object({ token: z.int().positive(), owner: z.string(), since: z.string() });
export type Lease = z.infer<typeof Lease>;

/** Somebody has taken the phase over in the meantime. */
export class LeaseTakenError extends Error {
  constructor(phaseKey: string) {
    super(`${phaseKey} was taken over by another attempt at the same moment.`);
    this.name = 'LeaseTakenError';
  }
}

/** Path of a phase's lease file. */
export function leaseFile(store: Store, phaseKey: string): string {
  return path.join(store.phase(phaseKey), 'lease.json');
}

/**
 * Takes the phase over: the new token is above the last, and no two takers get the same, even at the same moment. Every earlier holder is
 * fenced from now on. Throws {@link LeaseTakenError} when a later taker has come in between.
 */
export async function takeLease(store: Store, phaseKey: string, owner: string): Promise<Lease> {
  const file = leaseFile(store, phaseKey);
  const claims = path.join(store.phase(phaseKey), 'leases');
  await mkdir(claims, { recursive: true });
  let token = ((await readJson(file, Lease))?.token ?? 0) + 1;
  while (!(await claim(path.join(claims, String(token)), owner))) token++;
  if ((await readdir(claims)).some((later) => Number(later) > token)) throw new LeaseTakenError(phaseKey);
  const lease = { token, owner, since: new Date().toISOString() };
  await writeJson(file, lease);
  return lease;
}

/** Makes a file that only one can make. */
async function claim(file: string, owner: string): Promise<boolean> {
  return writeFile(file, owner, { flag: 'wx' }).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'EEXIST') return false;
      throw error;
    },
  );
}
