/** The page, built by Vite from dashboards/web. It is held in memory: no request is ever turned into a path. */
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { pageFolder } from '../web/sources.ts';

const WEB = path.resolve(import.meta.dirname, '..', 'web');

const TYPES: Record<string, string> = {
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
};

/** One file of the page. */
export type PageFile = { body: Uint8Array<ArrayBuffer>; type: string };

/** The page: its HTML, and its assets by request path. */
export type PageFiles = { html: PageFile; assets: Map<string, PageFile> };

/** The page could not be built from its sources. */
export class PageBuildError extends Error {
  constructor(why: string) {
    super(`The dashboard's page could not be built (${why}): run "npm ci" and look at dashboards/web.`);
    this.name = 'PageBuildError';
  }
}

/** Loads the page; builds it first when its sources have changed since the last build (about a second). */
export async function loadPage(): Promise<PageFiles> {
  const folder = pageFolder();
  if (!existsSync(path.join(folder, 'index.html'))) await buildPage(folder);
  const assets = new Map<string, PageFile>();
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const file = path.join(entry.parentPath, entry.name);
    const type = TYPES[path.extname(entry.name)] ?? 'application/octet-stream';
    const body = new Uint8Array(await readFile(file));
    assets.set(`/${path.relative(folder, file).split(path.sep).join('/')}`, { body, type });
  }
  const html = assets.get('/index.html');
  if (html === undefined) throw new PageBuildError(`${folder} has no index.html`);
  assets.delete('/index.html');
  return { html, assets };
}

/** Builds beside the target and moves into place, so that servers that start together never see half a page. */
async function buildPage(folder: string): Promise<void> {
  const scratch = `${folder}.${process.pid}`;
  try {
    await mkdir(path.dirname(folder), { recursive: true });
    const { build } = await import('vite');
    await build({ configFile: path.join(WEB, 'vite.config.ts'), build: { outDir: scratch } });
    await rename(scratch, folder).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error;
    });
  } catch (error) {
    throw new PageBuildError((error as Error).message.split('\n')[0] ?? 'unknown');
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}
