/** Checkpoints: one exists when its COMMITTED.json does, and may be used when every listed file has its size and hash. */
import { readdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { readJson } from './files.ts';
import type { Store } from './layout.ts';
import { filesFault, ManifestFile } from './manifest.ts';

/** Contents of COMMITTED.json, the marker an engine writes last. */
export const CommitMarker = z.object({
  step: z.int().positive(),
  files: z.array(ManifestFile).min(1),
  lease_token: z.int(),
  job_id: z.string(),
  created_at: z.union([z.string(), z.number()]),
});
export type CommitMarker = z.infer<typeof CommitMarker>;

/** Steps with a commit marker, ascending; the files are not verified. */
export async function committedSteps(store: Store, phaseKey: string): Promise<number[]> {
  const names = await readdir(store.checkpoints(phaseKey)).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  const steps: number[] = [];
  for (const name of names) {
    const match = /^step-(\d+)$/.exec(name);
    if (!match) continue;
    const marker = path.join(store.checkpoints(phaseKey), name, 'COMMITTED.json');
    if (
      await stat(marker).then(
        () => true,
        () => false,
      )
    )
      steps.push(Number(match[1]));
  }
  return steps.sort((a, b) => a - b);
}

/** Why a checkpoint may not be used, in one sentence; null when every file is whole. */
export async function checkpointFault(directory: string): Promise<string | null> {
  const marker = await readJson(path.join(directory, 'COMMITTED.json'), CommitMarker).catch(
    (error: Error) => error,
  );
  if (marker instanceof Error) return marker.message;
  if (marker === null) return `${directory} has no COMMITTED.json`;
  return filesFault(directory, marker.files);
}
