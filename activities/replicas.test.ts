import { expect, test } from 'vitest';
import { Replicas } from './replicas.ts';

test('requests spread evenly over servers that are equally fast', async () => {
  const replicas = new Replicas();
  const seen: string[] = [];
  const finish: (() => void)[] = [];
  const running = ['a', 'b', 'c', 'a', 'b', 'c'].map(() =>
    replicas.run(['a', 'b', 'c'], (url) => {
      seen.push(url);
      return new Promise<void>((resolve) => finish.push(resolve));
    }),
  );
  expect(seen.toSorted()).toEqual(['a', 'a', 'b', 'b', 'c', 'c']);
  for (const resolve of finish) resolve();
  await Promise.all(running);
});

test('a dead server, which answers fastest of all, does not draw every request', async () => {
  let now = 0;
  const replicas = new Replicas(() => now);
  const ask = () =>
    replicas.run(['dead', 'alive'], async (url) => {
      if (url === 'dead') throw new Error('refused');
      return url;
    });
  await expect(ask()).rejects.toThrow('refused');
  for (let n = 0; n < 10; n++) expect(await ask()).toBe('alive');
  now = 5000;
  await expect(ask()).rejects.toThrow('refused');
});

test('the only server is asked again even when it just failed', async () => {
  const replicas = new Replicas();
  const fail = async () => Promise.reject(new Error('refused'));
  await expect(replicas.run(['one'], fail)).rejects.toThrow('refused');
  expect(await replicas.run(['one'], async (url) => url)).toBe('one');
  await expect(replicas.run([], fail)).rejects.toThrow('at least one server');
});
