/** Manifests: the bytes that finished files had, so that damage is found when they are used and not in a result. */
import { readdir, rename, stat } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { readJson, sha256File, writeJson } from './files.ts';

/** A file of a manifest: path relative to its directory, size in bytes, hex sha256. */
export const ManifestFile = z.object({
  path: z.string(),
  size: z.int().nonnegative(),
  sha256: z.string().length(64),
});
export type ManifestFile = z.infer<typeof ManifestFile>;

/** Name of the manifest of a whole directory. */
export const MANIFEST = 'MANIFEST.json';

const DirectoryManifest = z.object({ files: z.array(ManifestFile) });

/** Size and hash of files as they are now. */
export async function describeFiles(directory: string, paths: readonly string[]): Promise<ManifestFile[]> {
  const files: ManifestFile[] = [];
  for (const name of paths) {
    const { size } = await stat(path.join(directory, name));
    files.push({ path: name, size, sha256: await sha256File(path.join(directory, name), size) });
  }
  return files;
}

/**
 * Why files are not what a manifest says, in one sentence; null when all are. A log that only grows (`growing`) may be longer than it was:
 * then what it held is compared.
 */
export async function filesFault(
  directory: string,
  files: readonly ManifestFile[],
  { growing = false } = {},
): Promise<string | null> {
  for (const file of files) {
    const full = path.join(directory, file.path);
    const info = await stat(full).catch(() => null);
    if (info === null) return `${full} is missing`;
    if (growing ? info.size < file.size : info.size !== file.size)
      return `${full} has ${info.size} bytes instead of ${file.size}`;
    if ((await sha256File(full, file.size)) !== file.sha256)
      return `${full} does not have the recorded sha256`;
  }
  return null;
}

/** Writes the manifest of what a directory holds, hidden files and those of a name in `leaveOut` apart. */
export async function writeManifest(directory: string, leaveOut: readonly string[] = []): Promise<void> {
  const omitted = new Set([MANIFEST, ...leaveOut]);
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  const paths = entries
    .filter((entry) => entry.isFile() && !omitted.has(entry.name) && !entry.name.startsWith('.'))
    .map((entry) => path.relative(directory, path.join(entry.parentPath, entry.name)))
    .sort();
  await writeJson(path.join(directory, MANIFEST), { files: await describeFiles(directory, paths) });
}

/** {@link filesFault} of a directory against its manifest; `undefined` when it has none (made by an earlier version, or torn by a crash). */
export async function manifestFault(directory: string): Promise<string | null | undefined> {
  const file = path.join(directory, MANIFEST);
  const manifest = await readJson(file, DirectoryManifest).catch((error: Error) => error);
  if (manifest instanceof Error) return manifest.message;
  return manifest === null ? undefined : filesFault(directory, manifest.files);
}

/** Stands between the old name of something set aside and a number. */
export const ASIDE = '.corrupt-';

/** Renames something damaged aside (it is kept for inspection) and returns its new name. */
export async function setAside(damaged: string): Promise<string> {
  for (let n = 1; ; n++) {
    const aside = `${damaged}${ASIDE}${n}`;
    const taken = await stat(aside).then(
      () => true,
      () => false,
    );
    if (taken) continue;
    await rename(damaged, aside);
    return path.basename(aside);
  }
}
