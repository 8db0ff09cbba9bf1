/** What the system page shows: processes and disk of one home, and what Temporal says. */
import { readdir, stat, statfs } from 'node:fs/promises';
import path from 'node:path';
import type { Store } from '../../store/layout.ts';
import { queue } from '../../store/slots.ts';
import type { ProcessView, SystemPage, TemporalView } from './api.ts';

/** What the dashboard asks of the rest of the platform for its system page. */
export type SystemSource = {
  /** Services, trainers and model servers of this home. */
  processes(): Promise<ProcessView[]>;
  /** Workers and workflows. Never throws: what could not be asked is said in `message`. */
  temporal(): Promise<TemporalView>;
};

/** Sizes of folders are measured again after this time: a home holds many files. */
const SIZES_KEPT_MS = 60_000;

type FolderSize = { name: string; bytes: number; files: number };

/** Opens a home for the system page; without a source only the disk is known. */
export function openSystem(store: Store, source: SystemSource | null) {
  let sizes: { at: number; folders: Promise<FolderSize[]> } | null = null;

  function folderSizes(): Promise<FolderSize[]> {
    if (sizes === null || Date.now() - sizes.at > SIZES_KEPT_MS) {
      const names = ['datasets', 'phases', 'evaluations', 'runs', 'services'];
      sizes = {
        at: Date.now(),
        folders: Promise.all(names.map((name) => folderSize(path.join(store.home, name), name))),
      };
    }
    return sizes.folders;
  }

  return {
    /** Everything on the page. */
    async page(): Promise<SystemPage> {
      const disk = await statfs(store.home);
      return {
        home: store.home,
        disk: {
          free: disk.bavail * disk.bsize,
          total: disk.blocks * disk.bsize,
          folders: await folderSizes(),
        },
        turns: (await queue(store)).map(({ experiment, part, priority, slot, since }) => ({
          experiment,
          part,
          priority,
          slot,
          since,
        })),
        processes: (await source?.processes()) ?? [],
        temporal: (await source?.temporal()) ?? {
          address: null,
          ui: null,
          message: 'This dashboard was started without Temporal: "p2r up" starts both.',
          workers: [],
          workflows: [],
        },
      };
    },
  };
}

async function folderSize(directory: string, name: string): Promise<FolderSize> {
  const size = { name, bytes: 0, files: 0 };
  const entries = await readdir(directory, { withFileTypes: true }).catch(() => []);
  for (const entry of entries) {
    const full = path.join(directory, entry.name);
    if (entry.isDirectory()) {
      const inner = await folderSize(full, name);
      size.bytes += inner.bytes;
      size.files += inner.files;
    } else if (entry.isFile()) {
      // A file that went away meanwhile takes no room.
      size.bytes += (await stat(full).catch(() => null))?.size ?? 0;
      size.files++;
    }
  }
  return size;
}
