import { appendFileSync, mkdtempSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { expect, test } from 'vitest';
import { describe, followLog, type Mark, readEvent, recipeCommand } from './pretrain.ts';

const step = (at: number, speed = 512) => ({
  event: 'step' as const,
  stage: 'B',
  step: at,
  of: 6000,
  loss: 0.25,
  examples_per_second: speed,
});

test('time left follows from the speed since the stage was first seen', () => {
  let mark: Mark | null = null;
  const tell = (at: number, now: number) => {
    const told = describe(step(at), mark, now);
    mark = told.mark;
    return told;
  };
  expect(tell(1250, 1_000_000).line).toBe('Stage B: step 1,250 of 6,000, loss 0.25, 512 examples a second');
  expect(tell(1500, 1_025_000).line).toContain('about 7 min 30 s left of this stage');
  expect(tell(2000, 1_050_000).line).toContain('about 4 min 27 s left');
  expect(tell(6000, 1_400_000)).toMatchObject({ lasting: true, line: expect.not.stringContaining('left') });
  expect(describe({ ...step(250), stage: 'C' }, mark, 1_500_000).line).not.toContain('left');
});

test('what is no line of progress is passed over', () => {
  expect(readEvent('Traceback (most recent call last):')).toBeNull();
  expect(readEvent('{"event": "step", "stage": "A"')).toBeNull();
  expect(readEvent('{"event": "step", "stage": "A", "step": 250}')).toBeNull();
  expect(readEvent('{"event": "written", "directory": "base"}')).toEqual({
    event: 'written',
    directory: 'base',
  });
});

test('only given settings reach the recipe', () => {
  const [, ...args] = recipeCommand(
    { size: 'small', out: 'x', seed: 3, steps: '1,2,3', habitScenes: 5 },
    '/out',
  );
  expect(args.join(' ')).toBe(
    '-m p2r_engines.pretraining.recipe --size small --out /out --seed 3 --habit-scenes 5 --steps 1,2,3',
  );
});

test('a log is shown from where it stood, with what was written last before its writer ended', async () => {
  const log = path.join(mkdtempSync(path.join(os.tmpdir(), 'p2r-log-')), 'log');
  const drawn = (scenes: number) => `{"event": "drawn", "scenes": ${scenes}, "seconds": 2}\n`;
  appendFileSync(log, drawn(1));
  const shown: string[] = [];
  let looks = 0;
  const goesOn = async () => {
    looks += 1;
    if (looks === 1) appendFileSync(log, `a warning\n${drawn(2).slice(0, 12)}`);
    if (looks === 2) appendFileSync(log, drawn(2).slice(12) + drawn(3));
    return looks < 2;
  };
  await followLog(log, drawn(1).length, goesOn, (line) => shown.push(line), AbortSignal.timeout(5000));
  expect(shown).toEqual(['2 scenes drawn in 2 s.', '3 scenes drawn in 2 s.']);
});
