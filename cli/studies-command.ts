/** `p2r studies`: what there is to run, what it stands for in the paper, and what it would take. */
import Table from 'cli-table3';
import type { Command } from 'commander';
import { addCosts, type Cost, estimateCost } from '../studies/cost.ts';
import { loadExperiments, loadStudyFile, studyNames } from '../studies/index.ts';
import { planExperiment } from '../studies/plan.ts';

/** One study of the listing. Parts that several of its experiments share count once, as they are computed once. */
export type StudyListing = {
  study: string;
  title: string;
  item: string | null;
  claim: string | null;
  twin: string | null;
  experiments: { experiment: string; phases: number; evaluations: number; cost: Cost }[];
  cost: Cost;
};

/** Describes a study by name or path of a .ts file. Throws what loading it throws. */
export async function describeStudy(name: string): Promise<StudyListing> {
  const file = await loadStudyFile(name);
  const seen = new Set<string>();
  const experiments = (await loadExperiments(name)).map(({ experiment, study }) => {
    const plan = planExperiment(study, experiment, `model-${study.model}`);
    const cost = estimateCost(plan, (key) => seen.has(key));
    for (const { key } of [...plan.phases, ...plan.evaluations]) seen.add(key);
    return { experiment, phases: plan.phases.length, evaluations: plan.evaluations.length, cost };
  });
  return {
    study: file.name,
    title: file.title,
    item: file.reproduces?.item ?? null,
    claim: file.reproduces?.claim ?? null,
    twin: file.reproduces?.twin ?? null,
    experiments,
    cost: addCosts(experiments.map(({ cost }) => cost)),
  };
}

/** Adds the command. `print` takes lines for stdout. */
export function addStudiesCommand(program: Command, print: (line: string) => void): void {
  program
    .command('studies')
    .argument('[study]', 'name of a study, or path of a .ts file')
    .option('--json', 'print JSON')
    .description('list the studies with what they would take, or show the experiments of one')
    .addHelpText('after', '\nExample:\n  p2r studies figure-5-ablation')
    .action(async (name: string | undefined, options: { json?: boolean }) => {
      const listed = await Promise.all((name === undefined ? await studyNames() : [name]).map(describeStudy));
      if (options.json) print(JSON.stringify(name === undefined ? listed : listed[0], null, 2));
      else if (name === undefined) print(overview(listed));
      else for (const study of listed) print(details(study));
    });
}

const NOTE =
  'Estimates from assumed speeds (studies/cost.ts), good to a factor of two or three; finished parts are reused and cost nothing.';

function overview(studies: StudyListing[]): string {
  const table = new Table({
    head: ['study', 'paper', 'runs', 'hours', 'GPU hours', 'disk', 'tokens', 'tiny twin'],
    style: { head: [], border: [] },
  });
  for (const { study, item, experiments, cost, twin } of studies)
    table.push([study, item ?? '', String(experiments.length), ...amounts(cost), twin ?? '']);
  return `${table.toString()}\n${NOTE}`;
}

function details(study: StudyListing): string {
  const table = new Table({
    head: ['experiment', 'phases', 'evaluations', 'hours', 'GPU hours', 'disk', 'tokens'],
    style: { head: [], border: [] },
  });
  for (const { experiment, phases, evaluations, cost } of study.experiments)
    table.push([experiment, String(phases), String(evaluations), ...amounts(cost)]);
  table.push(['together', '', '', ...amounts(study.cost)]);
  const lines = [`${study.study}: ${study.title}`];
  if (study.item !== null) lines.push(`${study.item} of the paper: ${study.claim}`);
  if (study.twin !== null) lines.push(`On two CPU cores: p2r run ${study.twin}`);
  return [...lines, table.toString(), NOTE].join('\n');
}

/** Hours, GPU hours, disk and tokens with two significant digits. */
function amounts(cost: Cost): string[] {
  return [
    rounded(cost.hours),
    cost.gpu_hours === 0 ? '-' : rounded(cost.gpu_hours),
    `${rounded(cost.disk_bytes / 1e9)} GB`,
    `${rounded(cost.tokens / 1e6)} M`,
  ];
}

function rounded(value: number): string {
  return value === 0 ? '0' : String(Number(value.toPrecision(2)));
}
