import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { PROJECT } from '../activities/environment.ts';
import { evaluationFiles, type StrategyScores } from '../store/evaluations.ts';
import { writeJson } from '../store/files.ts';
import { openStore, type Store } from '../store/layout.ts';
import { inspectModel } from '../store/models.ts';
import { type ItemRow, noCost, type PredictionRow, predictionFiles } from '../store/predictions.ts';
import { loadExperiments } from '../studies/index.ts';
import { planExperiment } from '../studies/plan.ts';
import type { EvaluationPlan } from '../workflows/types.ts';
import { collectResults } from './results.ts';
import { resultsPage } from './results-page.ts';

let store: Store;
beforeEach(async () => {
  store = openStore(await mkdtemp(path.join(tmpdir(), 'p2r-results-')));
});
afterEach(() => rm(store.home, { recursive: true, force: true }));

const SCENES = 24;

const planned = async (study: string) => {
  const baseKey = await inspectModel(path.join(PROJECT, 'models/tiny'));
  return (await loadExperiments(study)).flatMap(
    ({ experiment, study: one }) => planExperiment(one, experiment, baseKey).evaluations,
  );
};

/** Stores an evaluation of two questions a scene, of which `right` says which are answered right. */
async function storeEvaluation(
  { key, checkpoint, strategies }: EvaluationPlan,
  right: (strategy: string, question: number) => boolean,
): Promise<void> {
  const scores: Record<string, StrategyScores> = {};
  const items: ItemRow[] = [];
  const rows: PredictionRow[] = [];
  for (let question = 0; question < 2 * SCENES; question++)
    items.push({
      id: `q${question}`,
      image: 'sha',
      question: 'Which?',
      options: ['a', 'b'],
      form: 'choice',
      answer: 'A',
      truth: null,
      category: ['letter'],
      cluster: `scene-${question >> 1}`,
      predictions: {},
    });
  for (const strategy of strategies) {
    rows.push(
      ...items.map(
        ({ id }, question): PredictionRow => ({
          key: `${strategy}-${id}`,
          item: id,
          strategy,
          repeat: 0,
          text: '(A)',
          perceiver_text: null,
          boxes: [],
          stop: 'answered',
          notes: {},
          cost: noCost(),
          trace: [],
          width: 960,
          height: 960,
          verdict: { answer: 'A', correct: right(strategy, question), category: 'letter', metrics: {} },
        }),
      ),
    );
    const correct = rows.filter((row) => row.strategy === strategy && row.verdict?.correct).length;
    scores[strategy] = {
      accuracy: correct / items.length,
      interval: [0, 1],
      correct,
      count: items.length,
      hit_rate: null,
      iou: null,
      box_count: null,
      box_size: null,
      by_kind: {},
    };
  }
  await writeJson(evaluationFiles(store, key).scores, {
    key,
    checkpoint,
    model_key: 'm',
    strategies: scores,
  });
  const lines = (values: object[]) => values.map((value) => `${JSON.stringify(value)}\n`).join('');
  await writeFile(predictionFiles(store, key).items, lines(items));
  await writeFile(predictionFiles(store, key).predictions, lines(rows));
}

const resultOf = async (twin: string) => {
  const found = (await collectResults(store)).find((result) => result.twin === twin);
  if (found === undefined) throw new Error(twin);
  return found;
};

test('what is stored decides: oracle boxes that help hold the claim, those that do not break it', async () => {
  const [base] = await planned('tiny-table-5-oracle');
  if (base === undefined) throw new Error('no evaluation');
  await storeEvaluation(base, (strategy, question) => strategy === 'oracle' || question % 2 === 0);
  const good = await resultOf('tiny-table-5-oracle');
  expect(good).toMatchObject({ item: 'Table 5', verdict: 'holds', seeds: [1] });
  expect(good.checks[0]?.estimate?.value).toBeCloseTo(0.5, 12);
  expect(good.rows.map(({ strategy, accuracy }) => [strategy, accuracy.value])).toEqual([
    ['direct', 0.5],
    ['oracle', 1],
  ]);

  await storeEvaluation(base, (_, question) => question % 2 === 0);
  expect((await resultOf('tiny-table-5-oracle')).verdict).toBe('does not hold');
  // One scene in twenty-four is no evidence either way.
  await storeEvaluation(
    base,
    (strategy, question) => question % 2 === 0 || (strategy === 'oracle' && question === 1),
  );
  expect((await resultOf('tiny-table-5-oracle')).verdict).toBe('undecided');
});

test('seeds are shown apart and count once each', async () => {
  const evaluations = await planned('tiny-perceiver-phase');
  const trained = evaluations.filter(({ after }) => after !== null);
  expect(trained).toHaveLength(3);
  for (const evaluation of evaluations)
    await storeEvaluation(
      evaluation,
      (_, question) => question % 2 === 0 || (evaluation.after !== null && question % 4 === 1),
    );
  const result = await resultOf('tiny-perceiver-phase');
  expect(result.seeds).toEqual([1, 2, 3]);
  expect(result.rows.every(({ seeds }) => seeds.join() === '1,2,3')).toBe(true);
  expect(result.rows.length).toBeGreaterThan(0);
  expect(result.checks[0]).toMatchObject({ seeds: [0.25, 0.25, 0.25], verdict: 'holds' });
  const page = resultsPage([result], 'Made today.');
  expect(page).toContain('## The project: holds');
  expect(page).toContain('+0.250, +0.250, +0.250');
});

test('nothing stored is said to be not run, and a base alone is no run', async () => {
  const [base] = await planned('tiny-figure-4-inference');
  if (base === undefined) throw new Error('no evaluation');
  await storeEvaluation(base, () => true);
  const results = await collectResults(store);
  expect(new Set(results.map(({ verdict }) => verdict))).toEqual(new Set(['not run']));
  expect(resultsPage(results, '')).toContain('Not run here: `npx p2r run tiny-figure-4-inference`.');
});
