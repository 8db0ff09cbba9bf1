/** The token that changes on the dashboard must show. It lies in the home, readable for its owner alone. */
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { writeFileAtomic } from '../../store/files.ts';
import type { Store } from '../../store/layout.ts';

const file = (store: Store) => path.join(store.services, 'dashboard-token');

/** The home's token; one is made when there is none. */
export async function dashboardToken(store: Store): Promise<string> {
  const known = (await readFile(file(store), 'utf8').catch(() => '')).trim();
  if (/^[\w-]{32,}$/.test(known)) return known;
  const token = randomBytes(32).toString('base64url');
  await writeFileAtomic(file(store), `${token}\n`, 0o600);
  return token;
}

/** The address to open in a browser: with the token, so that the page may decide at a gate. */
export async function dashboardAddress(store: Store, url: string): Promise<string> {
  return `${url}/?token=${await dashboardToken(store)}`;
}
