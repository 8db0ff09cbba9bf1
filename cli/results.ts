/** From stored runs to the page that says which of the paper's claims the tiny twins show. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { PROJECT } from '../activities/environment.ts';
import { clusterBootstrap } from '../benchmarks/statistics/bootstrap.ts';
import { readScores } from '../store/evaluations.ts';
import { listExperiments } from '../store/experiments.ts';
import type { Store } from '../store/layout.ts';
import { inspectModel } from '../store/models.ts';
import { readEvaluation } from '../store/predictions.ts';
import { CHECKS, OWN_CHECKS } from '../studies/claims/checks.ts';
import {
  type Check,
  contrastRows,
  type Estimate,
  type Figure,
  type Metric,
  type Observation,
  overall,
  type Verdict,
  verdictOf,
} from '../studies/claims/rules.ts';
import { loadStudyFile, studyNames } from '../studies/index.ts';
import { planExperiment } from '../studies/plan.ts';
import type { Strategy, StudyFile } from '../studies/study.ts';
import { experimentsOf } from '../studies/sweep.ts';

/** One checkpoint of a case under one strategy: means over the held-out questions (and seeds), accuracy with its 95 % interval. */
export type ResultRow = {
  case: string;
  checkpoint: string;
  strategy: Strategy;
  seeds: number[];
  questions: number;
  accuracy: Estimate;
  hit_rate: number | null;
  iou: number | null;
  box_count: number | null;
  box_size: number | null;
  seconds: number | null;
};

/** A check as it came out, with the estimate of every seed alone. */
export type CheckResult = { says: string; estimate: Estimate | null; seeds: number[]; verdict: Verdict };

/** What one study shows. `item` is null where the claim is the project's own. */
export type StudyResult = {
  study: string;
  twin: string;
  item: string | null;
  claim: string;
  seeds: number[];
  rows: ResultRow[];
  checks: CheckResult[];
  verdict: Verdict;
};

/** Results of every study of the paper, and of the project's own claims, from the evaluations of this home. */
export async function collectResults(store: Store): Promise<StudyResult[]> {
  const papers = await Promise.all((await studyNames()).map(loadStudyFile));
  const results: StudyResult[] = [];
  for (const [twin, checks] of Object.entries(CHECKS)) {
    const paper = papers.find(({ reproduces }) => reproduces?.twin === twin);
    if (paper?.reproduces === undefined) continue;
    const { item, claim } = paper.reproduces;
    results.push(await studyResult(store, paper.name, twin, item, claim, checks));
  }
  for (const [name, { claim, checks }] of Object.entries(OWN_CHECKS))
    results.push(await studyResult(store, name, name, null, claim, checks));
  return results;
}

async function studyResult(
  store: Store,
  study: string,
  twin: string,
  item: string | null,
  claim: string,
  checks: Check[],
): Promise<StudyResult> {
  const file = await loadStudyFile(twin);
  const measured = await measurements(store, file);
  const seeds = [...measured.keys()];
  const observations = (which: number[]) => (figure: Figure) =>
    which.flatMap((seed) => {
      const found = measured.get(seed)?.find((one) => isPlace(one, figure));
      return found === undefined ? [] : [found.observations(figure.metric)];
    });
  const estimate = (check: Check, which: number[]): Estimate | null => {
    const rows = contrastRows(check.contrast, observations(which));
    if (rows === null) return null;
    const value = rows.reduce((sum, row) => sum + row.value, 0) / rows.length;
    return { value, interval: clusterBootstrap(rows) };
  };
  const checked = checks.map((check): CheckResult => {
    // A seed counts where it has all of a check's figures: means over different seeds are not compared.
    const complete = seeds.filter((seed) =>
      check.contrast.every(({ figure }) => observations([seed])(figure).length > 0),
    );
    const found = complete.length === 0 ? null : estimate(check, complete);
    return {
      says: check.says,
      estimate: found,
      seeds: complete.flatMap((seed) => estimate(check, [seed])?.value ?? []),
      verdict: verdictOf(found, check.expected),
    };
  });
  return {
    study,
    twin,
    item,
    claim,
    seeds,
    rows: resultRows(measured),
    checks: checked,
    verdict: overall(checked.map(({ verdict }) => verdict)),
  };
}

/** One evaluated checkpoint under one strategy, with its values question by question. */
type Measurement = Omit<Figure, 'metric'> & { observations: (metric: Metric) => Observation[] };

function isPlace(one: Omit<Figure, 'metric'>, other: Omit<Figure, 'metric'>): boolean {
  return one.case === other.case && one.checkpoint === other.checkpoint && one.strategy === other.strategy;
}

/**
 * What is stored of a study as it is written now, by seed: the seeds of its file and of every experiment of this home. Parts are found by
 * their content key, so that a run under another name counts, and one with other settings or another base does not.
 */
async function measurements(store: Store, file: StudyFile): Promise<Map<number, Measurement[]>> {
  const { cases, sweep, ...study } = file;
  const written = (sweep?.seed ?? [study.seed]).filter((seed) => typeof seed === 'number');
  const others = (await listExperiments(store)).map(({ seed }) => seed);
  const bySeed = new Map<number, Measurement[]>();
  const keys = new Map<string, Promise<string>>();
  const keyOf = (directory: string) => {
    const key = keys.get(directory) ?? inspectModel(directory);
    keys.set(directory, key);
    return key;
  };
  for (const seed of [...new Set([...written, ...others])].sort((a, b) => a - b)) {
    const found: Measurement[] = [];
    for (const [name, overrides] of Object.entries(cases ?? { '': {} })) {
      const named = name === '' ? undefined : { [name]: overrides };
      const { sweep: _, cases: __, ...base } = file;
      const [planned] = experimentsOf({ ...base, seed, ...(named && { cases: named }) });
      const directory = path.resolve(PROJECT, planned?.study.model ?? '');
      if (planned === undefined || !existsSync(directory)) continue;
      const { evaluations } = planExperiment(planned.study, planned.experiment, await keyOf(directory));
      for (const { key, checkpoint, strategies } of evaluations) {
        if ((await readScores(store, key).catch(() => null)) === null) continue;
        found.push(...(await measured(store, key, name, checkpoint, strategies)));
      }
    }
    // The base is the same under every seed: alone it does not make one.
    if (found.some(({ checkpoint }) => checkpoint !== 'base') || (study.iterations === 0 && found.length > 0))
      bySeed.set(seed, found);
    if (study.iterations === 0 && found.length > 0) break;
  }
  return bySeed;
}

async function measured(
  store: Store,
  key: string,
  name: string,
  checkpoint: string,
  strategies: Strategy[],
): Promise<Measurement[]> {
  const { items, predictions } = await readEvaluation(store, key);
  const clusters = new Map(items.map(({ id, cluster }) => [id, cluster]));
  const rows = [...predictions.values()];
  return strategies.map((strategy) => ({
    case: name,
    checkpoint,
    strategy,
    observations: (metric) =>
      rows
        .filter((row) => row.strategy === strategy)
        .map((row) => ({
          question: `${row.item}#${row.repeat}`,
          cluster: clusters.get(row.item) ?? row.item,
          value:
            metric === 'accuracy'
              ? row.verdict === undefined
                ? null
                : Number(row.verdict.correct)
              : metric === 'seconds'
                ? row.cost.model_seconds
                : (row.verdict?.metrics[metric] ?? null),
        })),
  }));
}

function resultRows(measured: Map<number, Measurement[]>): ResultRow[] {
  const all = [...measured.values()].flat();
  const places = all.filter((one, index) => all.findIndex((other) => isPlace(one, other)) === index);
  return places.flatMap((place) => {
    const found = [...measured].flatMap(([seed, list]) =>
      list.filter((one) => isPlace(one, place)).map((one) => ({ seed, one })),
    );
    const rows = (metric: Metric) =>
      contrastRows([{ weight: 1, figure: { ...place, metric } }], () =>
        found.map(({ one }) => one.observations(metric)),
      );
    const mean = (metric: Metric) => {
      const values = rows(metric);
      return values === null ? null : values.reduce((sum, { value }) => sum + value, 0) / values.length;
    };
    const [right, accuracy] = [rows('accuracy'), mean('accuracy')];
    if (right === null || accuracy === null) return [];
    return {
      case: place.case,
      checkpoint: place.checkpoint,
      strategy: place.strategy,
      seeds: found.map(({ seed }) => seed),
      questions: right.length,
      accuracy: { value: accuracy, interval: clusterBootstrap(right) },
      hit_rate: mean('hit_rate'),
      iou: mean('iou'),
      box_count: mean('box_count'),
      box_size: mean('box_size'),
      seconds: mean('seconds'),
    };
  });
}
