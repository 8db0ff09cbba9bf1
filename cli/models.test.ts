import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { Command } from 'commander';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { addModelsCommand } from './models-command.ts';

let folder: string;
const figures = (share: number) => ({ share, interval: [share - 0.05, share + 0.05], questions: 400 });
const mean = { mean: 0.6, interval: [0.55, 0.65] };

beforeEach(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'p2r-models-'));
  for (const name of ['one', 'two', 'not-a-model']) mkdirSync(path.join(folder, name));
  for (const name of ['one', 'two']) {
    writeFileSync(path.join(folder, name, 'config.json'), '{}');
    writeFileSync(path.join(folder, name, 'README.md'), '---\nlicense: apache-2.0\n---\n');
  }
  const record = {
    name: 'middle-base',
    size: { name: 'middle' },
    seed: 1,
    commit: 'abc',
    parameters: 6_219_392,
    figures: {
      'held-out': {
        direct: figures(0.5),
        p2r: figures(0.7),
        true_boxes: figures(0.9),
        hit_rate: mean,
        iou: mean,
      },
    },
    files: { 'config.json': createHash('sha256').update('{}').digest('hex') },
  };
  writeFileSync(path.join(folder, 'one', 'training.json'), JSON.stringify(record));
});
afterEach(() => {
  process.exitCode = undefined;
  rmSync(folder, { recursive: true });
  vi.restoreAllMocks();
});

async function models(...args: string[]): Promise<{ text: string; code: unknown }> {
  const written: string[] = [];
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => written.push(String(text)) > 0);
  const program = new Command('p2r').exitOverride().configureOutput({ writeErr: () => undefined });
  addModelsCommand(program);
  for (const command of program.commands[0]?.commands ?? []) command.exitOverride();
  process.exitCode = undefined;
  await program.parseAsync(['models', ...args], { from: 'user' });
  const code = process.exitCode ?? 0;
  process.exitCode = undefined;
  return { text: written.join(''), code };
}

test('the listing has figures, licence and the state of the files', async () => {
  const { text, code } = await models('ls', folder);
  expect(code).toBe(0);
  expect(text).toMatch(/one .*6\.2 M .*50\.0 % \[45\.0, 55\.0\].*70\.0 % .*60\.0 % .*apache-2\.0 .*whole/);
  expect(text).toMatch(/two .*- .*apache-2\.0 .*no training\.json/);
  expect(text).not.toContain('not-a-model');
  const listed = JSON.parse((await models('ls', folder, '--json')).text);
  expect(listed.map(({ name, state }: { name: string; state: string }) => [name, state])).toEqual([
    ['one', 'whole'],
    ['two', 'unrecorded'],
  ]);
});

test('verify names the damaged file, and what cannot be verified, with exit code 1', async () => {
  const one = path.join(folder, 'one');
  expect(await models('verify', one)).toEqual({
    text: 'one is whole: 1 files have the sha256 of training.json.\n',
    code: 0,
  });
  const bytes = readFileSync(path.join(one, 'config.json'));
  bytes[0] = (bytes[0] ?? 0) ^ 1;
  writeFileSync(path.join(one, 'config.json'), bytes);
  const damaged = await models('verify', one, path.join(folder, 'two'));
  expect(damaged.code).toBe(1);
  expect(damaged.text).toMatch(/one is not whole; .*\n {2}.*one\/config\.json is damaged: its sha256 begins/);
  expect(damaged.text).toMatch(/two has no training\.json, so nothing says what its files should be/);
  writeFileSync(path.join(one, 'training.json'), '{');
  const { text, code } = await models('verify', one);
  expect(code).toBe(1);
  expect(text).toMatch(/one\/training\.json .*not JSON/);
  await expect(models('verify', 'nowhere')).rejects.toThrow(/"nowhere" is neither a model of models\/ \(/);
});

test('settings of pretrain that the recipe could not read are refused', async () => {
  const wrong = (...args: string[]) => models('pretrain', '--size', 'test', '--out', folder, ...args);
  await expect(wrong('--steps', '1,2')).rejects.toThrow(/three whole numbers/);
  await expect(wrong('--habits', '0.5,0.5,2,0.3,1,1')).rejects.toThrow(/four numbers from 0 to 1/);
  await expect(wrong('--further', '3')).rejects.toThrow(/--further needs --capable/);
  await expect(wrong('--batch', '0')).rejects.toThrow(/at least 1/);
  await expect(models('pretrain', '--size', 'huge', '--out', folder)).rejects.toThrow(/small, middle, large/);
  await expect(models('pretrain', '--size', 'small')).rejects.toThrow(/--out/);
});
