/** A home on a file system of its own, so that its disk can be filled. */
import { execFile } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Size of the file system: a few phases with a checkpoint a step, kept small by `p2r gc`. */
const SIZE = '6g';

/** Mounts a tmpfs at `directory`; false where that is not allowed (only root on Linux may). */
export async function mountOwnDisk(directory: string): Promise<boolean> {
  await mkdir(directory, { recursive: true });
  return run('mount', ['-t', 'tmpfs', '-o', `size=${SIZE}`, 'p2r-chaos', directory]).then(
    () => true,
    () => false,
  );
}

/** Unmounts it again; what was in it is gone. */
export async function unmountOwnDisk(directory: string): Promise<void> {
  await run('umount', [directory]);
}
