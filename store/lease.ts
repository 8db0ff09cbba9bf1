/**
 * One owner per phase: a lease file with a fencing token that only grows. An engine compares its token with the file before
 * every write, so whoever took the lease last is the only one whose checkpoints count.
 */
import path from 'node:path';
import { z } from 'zod';
import { readJson, writeJson } from './files.ts';
import type { Store } from './layout.ts';

export const Lease = z.object({ token: z.int().positive(), owner: z.string(), since: z.string() });
export type Lease = z.infer<typeof Lease>;

/** Path of a phase's lease file. */
export function leaseFile(store: Store, phaseKey: string): string {
  return path.join(store.phase(phaseKey), 'lease.json');
}

/** Takes the phase over: the new token is one above the last. Every earlier holder is fenced from now on. */
export async function takeLease(store: Store, phaseKey: string, owner: string): Promise<Lease> {
  const file = leaseFile(store, phaseKey);
  const previous = await readJson(file, Lease);
  const lease = { token: (previous?.token ?? 0) + 1, owner, since: new Date().toISOString() };
  await writeJson(file, lease);
  return lease;
}
