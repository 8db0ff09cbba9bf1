import { expect, test } from 'vitest';
import { Agenda } from './agenda.ts';
import { Slots } from './slots.ts';

const fine = async () => ({ load: 'fine' as const, value: undefined });

test('never more than the slots, and later stages first', async () => {
  const slots = new Slots(2);
  const began: string[] = [];
  let most = 0;
  let open: () => void = () => undefined;
  const gate = new Promise<void>((resolve) => {
    open = resolve;
  });
  const job = (name: string, stage: number) =>
    slots.run(stage, async () => {
      began.push(name);
      most = Math.max(most, slots.busy);
      await gate;
      return { load: 'fine' as const, value: undefined };
    });
  const all = [job('a0', 0), job('b0', 0), job('c0', 0), job('d0', 0), job('a1', 1)];
  open();
  await Promise.all(all);
  expect(began).toEqual(['a0', 'b0', 'a1', 'c0', 'd0']);
  expect(most).toBe(2);
  expect(slots.busy).toBe(0);
});

test('a round of refusals halves the slots, quiet rounds give them back one by one, single failures do nothing', async () => {
  const slots = new Slots(8);
  for (let i = 0; i < 8; i++)
    await slots.run(0, async () => ({ load: i < 4 ? 'overloaded' : 'fine', value: 0 }));
  expect(slots.limit).toBe(4);
  for (let i = 0; i < 4; i++) await slots.run(0, fine);
  expect(slots.limit).toBe(5);
  for (let i = 0; i < 5; i++)
    await slots.run(0, async () => ({ load: i === 0 ? 'overloaded' : 'fine', value: 0 }));
  expect(slots.limit).toBe(5);
  for (let i = 0; i < 200; i++) await slots.run(0, fine);
  expect(slots.limit).toBe(8);
});

test('a failure inside gives the slot back; an abort leaves the queue', async () => {
  const slots = new Slots(1);
  await expect(slots.run(0, () => Promise.reject(new Error('no')))).rejects.toThrow('no');
  expect(slots.busy).toBe(0);
  const abort = new AbortController();
  let open: () => void = () => undefined;
  const first = slots.run(
    0,
    () =>
      new Promise<{ load: 'fine'; value: number }>(
        (resolve) => (open = () => resolve({ load: 'fine', value: 1 })),
      ),
  );
  const second = slots.run(0, fine, abort.signal);
  abort.abort(new Error('stopped'));
  await expect(second).rejects.toThrow('stopped');
  open();
  expect(await first).toBe(1);
});

test('the agenda stays with an image while there are questions about it', () => {
  const agenda = new Agenda<string>();
  for (const name of ['a1', 'b1', 'a2', 'c1', 'b2']) agenda.add(name[0] ?? '', name);
  expect([agenda.take(), agenda.take()]).toEqual(['a1', 'a2']);
  agenda.add('a', 'a3');
  expect([agenda.take(), agenda.take(), agenda.take(), agenda.take(), agenda.take()]).toEqual([
    'a3',
    'b1',
    'b2',
    'c1',
    undefined,
  ]);
  expect(agenda.size).toBe(0);
});
