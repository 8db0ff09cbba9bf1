/** The parts of the suite that need no processes; its short form is in test/end-to-end.test.ts. */
import { mkdtempSync } from 'node:fs';
import { readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { expect, test } from 'vitest';
import { seededRandom } from '../../benchmarks/statistics/random.ts';
import { Deck } from './deck.ts';
import type { Outcome } from './disturb.ts';
import { FAULTS, impossibleFaults } from './faults.ts';
import { type ChaosReport, complaints, writeReport } from './report.ts';

test('the order of faults follows from the seed, and every kind comes up in a deck', () => {
  const order = (seed: number) => {
    const deck = new Deck(FAULTS, seededRandom(seed));
    const size = FAULTS.reduce((sum, { weight }) => sum + weight, 0);
    return Array.from({ length: size }, () => deck.draw(() => true)?.name);
  };
  expect(order(1)).toEqual(order(1));
  expect(order(1)).not.toEqual(order(2));
  expect(new Set(order(1))).toEqual(new Set(FAULTS.map(({ name }) => name)));
});

test('a card that does not fit stays in the deck', () => {
  const deck = new Deck(FAULTS.slice(0, 2), () => 0);
  const [first, second] = FAULTS;
  for (let drawn = 0; drawn < (first?.weight ?? 0); drawn++) deck.draw((fault) => fault === first);
  expect(deck.draw((fault) => fault === first)).toBeNull();
  expect(deck.draw(() => true)).toBe(second);
});

test('the report is written between its marks, again and again, and says what did not hold', async () => {
  const directory = mkdtempSync(path.join(os.tmpdir(), 'p2r-chaos-report-'));
  const file = path.join(directory, 'page.md');
  const outcome: Outcome = {
    number: 1,
    fault: 'worker: kill -9',
    part: 'iteration-1/perceiver',
    step: 3,
    seconds: 4.25,
    by: 'step',
    recomputed: 0,
    gate: [],
  };
  const report: ChaosReport = {
    outcomes: [outcome, { ...outcome, number: 2, seconds: 6, recomputed: 1, gate: ['the disk is full'] }],
    violations: [],
    looks: 10,
    seed: 1,
    faults: 2,
    date: '2026-01-01',
    machine: '2 cores, 24 GiB',
    startSeconds: 9,
    undisturbedSeconds: 60,
    disturbedSeconds: 90,
    impossible: impossibleFaults(false),
    comparison: { differences: [], checkpoints: 2, steps: 8, predictions: 4 },
    left: [],
  };
  await writeFile(file, 'before\n<!-- chaos: written by npm run chaos -->\n<!-- chaos: end -->\nafter\n');
  await writeReport(file, report);
  const once = await readFile(file, 'utf8');
  await writeReport(file, report);
  expect(await readFile(file, 'utf8')).toBe(once);
  expect(once).toMatch(/^before\n/);
  expect(once).toMatch(/\nafter\n$/);
  expect(once).toContain(
    '| worker: kill -9 | 2 | 5.1 / 6.0 | – | 1 (1) | 1 of 2 waited at the gate, retried |',
  );
  expect(once).toContain('- the disk is full');
  expect(once).toContain('byte for byte');
  const broken = { ...report, violations: ['2 trainers at once in perceiver-1'] };
  expect(complaints(broken)).toEqual(['2 trainers at once in perceiver-1']);
  await writeReport(file, broken);
  expect(await readFile(file, 'utf8')).toContain('**It did not hold:** 2 trainers at once in perceiver-1.');
  await rm(directory, { recursive: true, force: true });
});
