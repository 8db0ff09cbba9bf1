import { mkdtempSync } from 'node:fs';
import { readdir, utimes } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { openStore, type Store } from './layout.ts';
import { drawTicket, leave, queue, setSlots, takeSlot, writePriority } from './slots.ts';

let store: Store;
beforeEach(() => {
  store = openStore(mkdtempSync(path.join(os.tmpdir(), 'p2r-slots-')));
});

const free = () => path.join(store.home, 'slots', 'free');
const draw = (experiment: string, owner: string) =>
  drawTicket(store, { owner, workflow: `${experiment}/phase`, experiment, part: 'phase' });

/** As if the time for which slots are kept had passed. */
async function rested(): Promise<void> {
  for (const name of await readdir(free())) await utimes(path.join(free(), name), 0, 0);
}

test('of many who ask at once, as many get a slot as there are', async () => {
  await setSlots(store, 2);
  const owners = Array.from({ length: 12 }, (_, n) => `run-${n}`);
  for (const owner of owners) await draw('e', owner);
  const got = await Promise.all(owners.map((owner) => takeSlot(store, owner)));
  expect(got.filter(Boolean)).toHaveLength(2);
  expect((await queue(store)).filter(({ slot }) => slot !== null)).toHaveLength(2);
});

test('turns go by priority, which counts as it is now, and then by who came first', async () => {
  await setSlots(store, 1);
  await draw('holder', 'h');
  expect(await takeSlot(store, 'h')).toBe(true);
  for (const name of ['first', 'second', 'urgent']) await draw(name, name);
  await writePriority(store, 'urgent', 1);
  expect((await queue(store)).map(({ owner, slot }) => [owner, slot])).toEqual([
    ['h', 0],
    ['urgent', null],
    ['first', null],
    ['second', null],
  ]);
  await leave(store, 'h');
  await rested();
  expect(await takeSlot(store, 'first')).toBe(false);
  await writePriority(store, 'urgent', 5);
  expect(await takeSlot(store, 'urgent')).toBe(false);
  expect(await takeSlot(store, 'first')).toBe(true);
});

test('a slot is kept a while for the next part of the experiment that gave it back', async () => {
  await setSlots(store, 1);
  await draw('running', 'part-1');
  await takeSlot(store, 'part-1');
  await draw('other', 'o');
  await leave(store, 'part-1');
  expect(await takeSlot(store, 'o')).toBe(false);
  await draw('running', 'part-2');
  expect(await takeSlot(store, 'part-2')).toBe(false);
  await writePriority(store, 'running', 2);
  expect(await takeSlot(store, 'part-2')).toBe(true);
  await leave(store, 'part-2');
  await rested();
  expect(await takeSlot(store, 'o')).toBe(true);
});

test('asking, taking and leaving twice is asking, taking and leaving once', async () => {
  await setSlots(store, 1);
  await draw('e', 'a');
  await draw('e', 'a');
  expect(await Promise.all([takeSlot(store, 'a'), takeSlot(store, 'a')])).toContain(true);
  expect(await takeSlot(store, 'a')).toBe(true);
  expect(await queue(store)).toHaveLength(1);
  await Promise.all([leave(store, 'a'), leave(store, 'a')]);
  expect(await queue(store)).toEqual([]);
  expect(await readdir(free())).toEqual(['0']);
  await leave(store, 'a');
});

test('slots are added and taken away while some are held', async () => {
  await setSlots(store, 2);
  for (const owner of ['a', 'b', 'c']) await draw('e', owner);
  expect([await takeSlot(store, 'a'), await takeSlot(store, 'b'), await takeSlot(store, 'c')]).toEqual([
    true,
    true,
    false,
  ]);
  await setSlots(store, 3);
  expect(await takeSlot(store, 'c')).toBe(true);
  await leave(store, 'c');
  await leave(store, 'b');
  await setSlots(store, 1);
  expect(await readdir(free())).toEqual([]);
});
