/** Image files that rows point to. */
import { readFile, realpath } from 'node:fs/promises';
import path from 'node:path';
import { BenchmarkError, type ImageSource } from '../item.ts';

/**
 * An image file below a folder. Rows come from others: a path that leaves the folder is refused.
 * @throws BenchmarkError at once for a path outside; `read` rejects with one when the file is missing
 */
export function imageFile(folder: string, relative: string, where: string): ImageSource {
  const file = path.resolve(folder, relative);
  if (path.isAbsolute(relative) || !file.startsWith(`${path.resolve(folder)}${path.sep}`))
    throw new BenchmarkError(where, `the image path "${relative.slice(0, 200)}" leaves ${folder}`);
  return {
    key: file,
    read: async () => {
      try {
        const [root, real] = await Promise.all([realpath(folder), realpath(file)]);
        if (!real.startsWith(`${root}${path.sep}`)) throw new Error('it is a link to somewhere else');
        return await readFile(real);
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        throw new BenchmarkError(where, `its image ${relative} cannot be read (${reason})`);
      }
    },
  };
}
