import { Context } from '@temporalio/activity';
import { MockActivityEnvironment } from '@temporalio/testing';
import { expect, test, vi } from 'vitest';
import { beating } from './heartbeats.ts';

test('when a long activity ends, the others on its worker send a heartbeat, whose answer may be their cancel', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'setInterval', 'clearTimeout', 'clearInterval'] });
  try {
    const pointers: unknown[] = [];
    const service = new MockActivityEnvironment();
    service.on('heartbeat', (pointer) => pointers.push(pointer));
    const serving = service.run(async () => {
      using _beat = beating(() => ({ serving: 'it' }));
      await Context.current().cancelled;
    });
    const trainer = new MockActivityEnvironment();
    await trainer.run(async () => {
      using _beat = beating(() => ({ training: 'it' }));
    });
    expect(pointers).toHaveLength(1);
    vi.advanceTimersByTime(500);
    expect(pointers).toEqual([{ serving: 'it' }, { serving: 'it' }]);
    vi.advanceTimersByTime(3000);
    expect(pointers).toHaveLength(3);
    service.cancel('CANCELLED');
    await expect(serving).rejects.toThrow('CANCELLED');
    vi.advanceTimersByTime(10_000);
    expect(pointers).toHaveLength(3);
  } finally {
    vi.useRealTimers();
  }
});
