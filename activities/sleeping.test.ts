import { setTimeout as pause } from 'node:timers/promises';
import { expect, test, vi } from 'vitest';
import { SleepingServers } from './sleeping.ts';

/** A server that records what it is told and answers only while it is awake. */
function stage() {
  const told: string[] = [];
  let awake = false;
  let refuse: string | null = null;
  const request = (async (url: URL | string) => {
    const { pathname } = new URL(url);
    told.push(pathname);
    await pause(5);
    if (pathname === refuse) return new Response('', { status: 500 });
    awake = pathname === '/wake_up';
    return new Response('');
  }) as typeof fetch;
  const servers = new SleepingServers(request);
  const ask = (milliseconds = 1) =>
    servers.run('http://server:1/v1', 0.03, async () => {
      expect(awake).toBe(true);
      await pause(milliseconds);
      expect(awake).toBe(true);
      return 'answer';
    });
  return {
    told,
    ask,
    refuse: (pathname: string | null) => {
      refuse = pathname;
    },
  };
}

test('a server is woken once for many requests and sleeps when none has been open for a while', async () => {
  const { told, ask } = stage();
  expect(await Promise.all([ask(), ask(60), ask(2)])).toEqual(['answer', 'answer', 'answer']);
  await ask();
  expect(told).toEqual(['/wake_up']);
  await vi.waitFor(() => expect(told).toEqual(['/wake_up', '/sleep']));
  await ask();
  await vi.waitFor(() => expect(told).toEqual(['/wake_up', '/sleep', '/wake_up', '/sleep']));
});

test('a request that comes while the server falls asleep waits until it is awake again', async () => {
  const { told, ask } = stage();
  await ask();
  await vi.waitFor(() => expect(told).toContain('/sleep'), { interval: 1 });
  expect(await ask()).toBe('answer');
  expect(told).toEqual(['/wake_up', '/sleep', '/wake_up']);
});

test('a server that does not wake fails the request, and the next one tries again', async () => {
  const { told, ask, refuse } = stage();
  refuse('/wake_up');
  await expect(ask()).rejects.toThrow('/wake_up says 500');
  refuse(null);
  expect(await ask()).toBe('answer');
  expect(told.filter((path) => path === '/wake_up')).toHaveLength(2);
});
