/**
 * The slots of a machine, which the experiments of a home share: whoever computes holds one. A slot is a file that is renamed from
 * `free/<n>` to `held/<n>.<owner>` and back: of many who want one, one gets it, and only its owner's name gives it back. Who waits has a
 * ticket; the order is by priority, then by the experiment's start. The file names the experiment that gave it back last, whose next part
 * has {@link REST_MS} to ask for it: else others would slip in between two parts.
 */
import { mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { readEvents } from './experiments.ts';
import { readJson, writeJson } from './files.ts';
import type { Store } from './layout.ts';

/** From 1 (first) to 5; as in Temporal. */
export const Priority = z.int().min(1).max(5);

/** Time for which a slot is kept for the next part of the experiment that gave it back. */
const REST_MS = 2000;

/** Of an experiment nobody gave another one. */
export const DEFAULT_PRIORITY = 3;

/** Who wants a slot or holds one: a part of an experiment, computed by one run of a workflow. `owner` is that run's id. */
export const Ticket = z.object({
  owner: z.string(),
  workflow: z.string(),
  experiment: z.string(),
  part: z.string(),
  started: z.string().describe("the experiment's start"),
  since: z.string(),
});
export type Ticket = z.infer<typeof Ticket>;

/** A ticket with its experiment's priority now, and the number of the slot it holds (null while it waits). */
export type QueuedTicket = Ticket & { priority: number; slot: number | null };

function places(store: Store) {
  const root = path.join(store.home, 'slots');
  return {
    free: path.join(root, 'free'),
    held: path.join(root, 'held'),
    tickets: path.join(root, 'tickets'),
    ticket: (owner: string) => path.join(root, 'tickets', `${owner}.json`),
  };
}

const list = (directory: string) =>
  readdir(directory).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [] as string[];
    throw error;
  });

/** Makes the machine have `count` slots: missing ones appear, surplus ones go once they are free. */
export async function setSlots(store: Store, count: number): Promise<void> {
  const { free, held } = places(store);
  await mkdir(free, { recursive: true });
  await mkdir(held, { recursive: true });
  // In this order, a slot that is being taken or given back is seen at least once.
  const isFree = new Set(await list(free));
  const isHeld = new Set((await list(held)).map((name) => name.split('.')[0]));
  for (let slot = 0; slot < count; slot++)
    if (!isFree.has(String(slot)) && !isHeld.has(String(slot))) {
      const file = path.join(free, String(slot));
      await writeFile(file, '', { flag: 'wx' }).catch(unless('EEXIST'));
      await utimes(file, 0, 0).catch(unless('ENOENT'));
    }
  for (const name of isFree) if (Number(name) >= count) await rm(path.join(free, name), { force: true });
}

/** Queues a part of an experiment; a second call of the same owner changes nothing. */
export async function drawTicket(store: Store, ticket: Omit<Ticket, 'started' | 'since'>): Promise<void> {
  const file = places(store).ticket(ticket.owner);
  if ((await readJson(file, Ticket).catch(() => null)) !== null) return;
  const since = new Date().toISOString();
  const start = (await readEvents(store, ticket.experiment)).findLast(
    ({ type }) => type === 'experiment-started',
  );
  await writeJson(file, { ...ticket, started: start?.time ?? since, since });
}

/** Everybody who holds a slot or waits for one, in the order in which slots are given. */
export async function queue(store: Store): Promise<QueuedTicket[]> {
  const { held, tickets } = places(store);
  const slots = new Map(
    (await list(held)).map((name) => [name.slice(name.indexOf('.') + 1), Number(name.split('.')[0])]),
  );
  const found: QueuedTicket[] = [];
  for (const name of await list(tickets)) {
    const ticket = await readJson(path.join(tickets, name), Ticket).catch(() => null);
    if (ticket === null) continue;
    const priority = await readPriority(store, ticket.experiment);
    found.push({ ...ticket, priority, slot: slots.get(ticket.owner) ?? null });
  }
  const order = ({ slot, priority, started, since, owner }: QueuedTicket) =>
    [slot === null ? 1 : 0, priority, started, since, owner].join(' ');
  return found.sort((a, b) => (order(a) < order(b) ? -1 : 1));
}

/** Takes a slot when it is the owner's turn; true when it holds one. */
export async function takeSlot(store: Store, owner: string): Promise<boolean> {
  const { free, held } = places(store);
  const everybody = await queue(store);
  const own = everybody.find((ticket) => ticket.owner === owner);
  if (own === undefined) return false;
  if (own.slot !== null) return true;
  const slots: string[] = [];
  for (const slot of await list(free))
    if (await isOffered(path.join(free, slot), own.experiment)) slots.push(slot);
  if (everybody.filter(({ slot }) => slot === null).indexOf(own) >= slots.length) return false;
  for (const slot of slots) {
    const taken = await rename(path.join(free, slot), path.join(held, `${slot}.${owner}`)).then(
      () => true,
      unless('ENOENT'),
    );
    if (taken === true) return true;
  }
  return false;
}

/** Whether a free slot is for everybody already, or was this experiment's before. */
async function isOffered(slot: string, experiment: string): Promise<boolean> {
  const [info, last] = await Promise.all([
    stat(slot).catch(unless('ENOENT')),
    readFile(slot, 'utf8').catch(unless('ENOENT')),
  ]);
  return info !== undefined && (last === experiment || Date.now() - info.mtimeMs >= REST_MS);
}

/** Gives back what the owner holds and takes it out of the queue. */
export async function leave(store: Store, owner: string): Promise<void> {
  const { free, held, ticket } = places(store);
  const experiment = (await readJson(ticket(owner), Ticket).catch(() => null))?.experiment ?? '';
  for (const name of await list(held)) {
    if (!name.endsWith(`.${owner}`)) continue;
    const file = path.join(held, name);
    // Without `r+` a slot that somebody else has just given back would be made anew.
    await writeFile(file, experiment, { flag: 'r+' }).catch(unless('ENOENT'));
    await rename(file, path.join(free, name.split('.')[0] ?? '')).catch(unless('ENOENT'));
  }
  await rm(ticket(owner), { force: true });
}

const PriorityFile = z.object({ priority: Priority });

const priorityFile = (store: Store, experiment: string) => path.join(store.run(experiment), 'priority.json');

/** Gives an experiment a priority, which counts from its next turn on. */
export async function writePriority(store: Store, experiment: string, priority: number): Promise<void> {
  await writeJson(priorityFile(store, experiment), { priority });
}

/** The experiment's priority, {@link DEFAULT_PRIORITY} where none was given. */
export async function readPriority(store: Store, experiment: string): Promise<number> {
  const file = await readJson(priorityFile(store, experiment), PriorityFile).catch(() => null);
  return file?.priority ?? DEFAULT_PRIORITY;
}

/** Lets an error of that code pass, and throws any other. */
function unless(code: string): (error: NodeJS.ErrnoException) => undefined {
  return (error) => {
    if (error.code !== code) throw error;
  };
}
