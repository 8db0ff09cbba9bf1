import { Command } from 'commander';
import { expect, test } from 'vitest';
import { addStudiesCommand, describeStudy, type StudyListing } from './studies-command.ts';

async function run(...args: string[]): Promise<string> {
  const lines: string[] = [];
  const program = new Command('p2r').exitOverride();
  addStudiesCommand(program, (line) => lines.push(line));
  await program.parseAsync(['studies', ...args], { from: 'user' });
  return lines.join('\n');
}

test('every table and figure of the paper has a study, and each a twin that runs without a GPU', async () => {
  const listed = JSON.parse(await run('--json')) as StudyListing[];
  const items = listed.flatMap(({ item }) => item ?? []).join(', ');
  for (const item of ['Tables 1 and 2', 'Table 3', 'Table 4', 'Table 5', 'E.4'])
    expect(items).toContain(item);
  for (const figure of [4, 5, 8, 11, 12]) expect(items).toContain(`Figure ${figure}`);
  expect(items).toContain('Figures 6, 9 and 10');
  for (const { study, item, twin, cost } of listed.filter(({ study }) => !study.startsWith('tiny-'))) {
    expect(item, study).not.toBeNull();
    expect(cost.gpu_hours, study).toBeGreaterThan(0);
    const tiny = listed.find((other) => other.study === twin);
    expect(tiny?.cost.gpu_hours, study).toBe(0);
    expect(tiny?.cost.hours, study).toBeLessThan(1);
  }
});

test('a part that several experiments share is counted once', async () => {
  const { experiments, cost } = await describeStudy('figure-5-ablation');
  expect(experiments.map(({ experiment }) => experiment)).toEqual([
    'figure-5-ablation-p-only-seed1',
    'figure-5-ablation-r-only-seed1',
    'figure-5-ablation-p-then-r-seed1',
    'figure-5-ablation-r-then-p-seed1',
  ]);
  expect(cost.hours).toBeCloseTo(experiments.reduce((sum, one) => sum + one.cost.hours, 0));
  const alone = await describeStudy('figure-4-inference');
  expect(experiments[2]?.cost.hours).toBeLessThan(alone.cost.hours);
});

test('the listing is a table for people', async () => {
  const text = await run();
  expect(text).toMatch(/figure-8-iterations.*Figure 8.*2 .*tiny-figure-8-iterations/);
  expect(text).toContain('good to a factor of two or three');
  const one = await run('e4-dapo');
  expect(one).toMatch(/Appendix E\.4 of the paper: Under DAPO/);
  expect(one).toMatch(/e4-dapo-dapo-seed1/);
  await expect(run('no-such')).rejects.toThrow(/There is no study "no-such"/);
});
