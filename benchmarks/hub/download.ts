/** Files of a dataset on the Hugging Face hub: one pinned revision, every file checked, and a broken download goes on where it ended. */
import { createHash, type Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pLimit from 'p-limit';
import { z } from 'zod';
import { readJson, writeJson } from '../../store/files.ts';

/** A download that cannot go on. The message names the file or the address, and the remedy. */
export class HubError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'HubError';
  }
}

const Listing = z.object({
  sha: z.string().regex(/^[0-9a-f]{40}$/),
  siblings: z.array(
    z.object({
      rfilename: z.string(),
      size: z.number().int().nonnegative().nullish(),
      blobId: z.string().nullish(),
      lfs: z.object({ sha256: z.string().length(64), size: z.number().int() }).nullish(),
    }),
  ),
});

/** What was downloaded, kept beside the files: which revision, and the checksum of each file. */
export const DownloadRecord = z.object({
  repository: z.string(),
  revision: z.string(),
  files: z.array(
    z.object({
      path: z.string(),
      size: z.int().nonnegative(),
      checksum: z.string(),
    }),
  ),
});
export type DownloadRecord = z.infer<typeof DownloadRecord>;

export type DownloadOptions = {
  /** `https://huggingface.co`, or a mirror with the same API. */
  endpoint: string;
  /** Sent as Bearer token to the endpoint alone; never written anywhere. */
  token?: string;
  repository: string;
  /** Branch, tag or commit; what it names is resolved once and written down. */
  revision: string;
  /** Paths or path prefixes to take. */
  files: readonly string[];
  folder: string;
  onFile?: (path: string, done: number, of: number) => void;
  signal?: AbortSignal;
  /** Tries of one file, and the first pause between them in milliseconds. */
  tries?: number;
  pause?: number;
};

type Wanted = { path: string; size: number; checksum: string };

/** `sha256:…` of the content, or `git:…`, the id that git gives a file of this content. */
function checksumOf(kind: string, size: number): { hash: Hash; name: string } {
  if (kind === 'sha256') return { hash: createHash('sha256'), name: 'sha256' };
  return { hash: createHash('sha1').update(`blob ${size}\0`), name: 'git' };
}

async function fileChecksum(file: string, wanted: Wanted): Promise<string> {
  const { hash, name } = checksumOf(wanted.checksum.split(':')[0] ?? '', wanted.size);
  for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer);
  return `${name}:${hash.digest('hex')}`;
}

/**
 * Downloads what is missing and checks what is there. A folder holds one revision: once its record is written, later calls ask for that
 * revision again, whatever the branch has become meanwhile.
 * @throws HubError when the repository is not found or closed, a file has no checksum, or its content does not match
 */
export async function downloadDataset(options: DownloadOptions): Promise<DownloadRecord> {
  const { repository, folder, endpoint } = options;
  const recordFile = path.join(folder, 'download.json');
  const earlier = await readJson(recordFile, DownloadRecord);
  if (earlier !== null && earlier.repository !== repository)
    throw new HubError(`${folder} holds ${earlier.repository}; choose another folder for ${repository}.`);
  const pinned = earlier?.revision ?? options.revision;
  const listing = await list(options, pinned);
  const wanted = listing.siblings
    .filter(({ rfilename }) =>
      options.files.some((prefix) => rfilename === prefix || rfilename.startsWith(prefix)),
    )
    .map(({ rfilename, size, blobId, lfs }): Wanted => {
      const target = path.resolve(folder, rfilename);
      if (!target.startsWith(`${path.resolve(folder)}${path.sep}`))
        throw new HubError(
          `${endpoint} lists the path "${rfilename.slice(0, 200)}", which leaves ${folder}.`,
        );
      if (lfs !== null && lfs !== undefined)
        return { path: rfilename, size: lfs.size, checksum: `sha256:${lfs.sha256}` };
      if (!blobId || size === null || size === undefined)
        throw new HubError(`${endpoint} gives no checksum of ${rfilename}; it is not downloaded unchecked.`);
      return { path: rfilename, size, checksum: `git:${blobId}` };
    });
  if (wanted.length === 0)
    throw new HubError(`${repository} at ${listing.sha} has none of: ${options.files.join(', ')}.`);
  const record = { repository, revision: listing.sha, files: wanted };
  await mkdir(folder, { recursive: true });
  await writeJson(recordFile, record);
  const limit = pLimit(4);
  let done = 0;
  await Promise.all(
    wanted.map((file) =>
      limit(async () => {
        await fetchFile(options, listing.sha, file);
        options.onFile?.(file.path, ++done, wanted.length);
      }),
    ),
  );
  return record;
}

function headersOf({ token }: DownloadOptions): Record<string, string> {
  return token === undefined ? {} : { authorization: `Bearer ${token}` };
}

async function list(options: DownloadOptions, revision: string): Promise<z.infer<typeof Listing>> {
  const { endpoint, repository, signal } = options;
  const address = `${endpoint}/api/datasets/${repository}/revision/${encodeURIComponent(revision)}?blobs=true`;
  const response = await fetch(address, {
    headers: headersOf(options),
    ...(signal === undefined ? {} : { signal }),
  });
  if (response.status === 401 || response.status === 403)
    throw new HubError(`${repository} is closed: accept its terms on ${endpoint} and set HF_TOKEN.`);
  if (response.status === 404)
    throw new HubError(`${endpoint} has no dataset ${repository} at "${revision}": check both names.`);
  if (!response.ok) throw new HubError(`${address} answered ${response.status}; try again later.`);
  const parsed = Listing.safeParse(await response.json().catch(() => null));
  if (!parsed.success) throw new HubError(`${address} did not answer with a list of files.`);
  return parsed.data;
}

async function fetchFile(options: DownloadOptions, revision: string, wanted: Wanted): Promise<void> {
  const target = path.join(options.folder, wanted.path);
  const size = await stat(target).then(
    (info) => info.size,
    () => null,
  );
  if (size === wanted.size && (await fileChecksum(target, wanted)) === wanted.checksum) return;
  await mkdir(path.dirname(target), { recursive: true });
  const part = `${target}.part`;
  const { tries = 5, pause = 1000, signal } = options;
  for (let attempt = 1; ; attempt++) {
    try {
      await fetchRest(options, revision, wanted, part);
      break;
    } catch (error) {
      signal?.throwIfAborted();
      if (error instanceof HubError || attempt >= tries) throw error;
      await sleep(pause * 2 ** (attempt - 1), undefined, signal === undefined ? {} : { signal });
    }
  }
  const checksum = await fileChecksum(part, wanted);
  if (checksum !== wanted.checksum) {
    await rm(part, { force: true });
    throw new HubError(
      `${wanted.path} has ${checksum} and should have ${wanted.checksum}; it was deleted, download it again.`,
    );
  }
  await rename(part, target);
}

/** Appends to the part what is missing of the file. Throws when the connection ends early. */
async function fetchRest(
  options: DownloadOptions,
  revision: string,
  wanted: Wanted,
  part: string,
): Promise<void> {
  const { endpoint, repository, signal } = options;
  const have = await stat(part).then(
    ({ size }) => (size <= wanted.size ? size : 0),
    () => 0,
  );
  if (have === wanted.size && have > 0) return;
  const name = wanted.path.split('/').map(encodeURIComponent).join('/');
  const response = await fetch(`${endpoint}/datasets/${repository}/resolve/${revision}/${name}`, {
    headers: { ...headersOf(options), ...(have > 0 ? { range: `bytes=${have}-` } : {}) },
    ...(signal === undefined ? {} : { signal }),
  });
  if (response.status === 404 || response.status === 401 || response.status === 403)
    throw new HubError(`${wanted.path} of ${repository} was refused (${response.status}).`);
  if (!response.ok || response.body === null) throw new Error(`${wanted.path}: status ${response.status}`);
  // A server that does not know ranges sends everything.
  const from = response.status === 206 ? have : 0;
  const handle = await open(part, from > 0 ? 'r+' : 'w');
  try {
    let at = from;
    for await (const chunk of response.body) {
      const bytes = Buffer.from(chunk);
      await handle.write(bytes, 0, bytes.length, at);
      at += bytes.length;
    }
    await handle.truncate(at);
    await handle.sync();
    if (at !== wanted.size) throw new Error(`${wanted.path}: ${at} of ${wanted.size} bytes arrived`);
  } finally {
    await handle.close();
  }
}
