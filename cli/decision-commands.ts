/** plan, retry, skip, abort, rerun, fork, pause and resume as commands. */
import type { Command } from 'commander';
import { type ExperimentRecord, readExperiment } from '../store/experiments.ts';
import type { Store } from '../store/layout.ts';
import { plannedSteps } from '../store/reuse.ts';
import { loadStudy, StudyNotFoundError } from '../studies/index.ts';
import { parseAssignments, withStudySettings } from '../studies/overrides.ts';
import { phaseOf, planOf, withStudy } from '../studies/revisions.ts';
import { parseStudy } from '../studies/study.ts';
import { changeOf, decideAtGate, forkRecord, rerun, rerunRecord, setPaused } from './commands/deciding.ts';
import { requireExperiment, resolveStudy } from './commands/experiments.ts';
import { UserError } from './errors.ts';
import { planLines } from './render.ts';

/** What the commands need of the program: where runs lie, how to print, how to have services, how to follow a run. */
export type CommandContext = {
  store: Store;
  print: (line: string) => void;
  printJson: (value: unknown) => void;
  names: () => Promise<string[]>;
  withServices: () => Promise<void>;
  followToEnd: (record: ExperimentRecord, options: { json?: boolean; detach?: boolean }) => Promise<void>;
};

const collect = (value: string, before: string[]) => [...before, value];

function stepNumber(text: string): number {
  const match = /^(?:step-)?0*([1-9]\d*)$/.exec(text);
  if (match === null) throw new UserError(`"${text}" is not a step: write step-12 or 12.`);
  return Number(match[1]);
}

/** Adds the commands to the program. */
export function addDecisionCommands(program: Command, context: CommandContext): void {
  const { store, print, printJson, names } = context;
  const find = async (experiment: string) => requireExperiment(store, experiment, await names());

  program
    .command('plan')
    .argument('<study-or-experiment>')
    .option('--set <name=value>', 'another setting of the study, such as perceiver.lr=1e-4', collect, [])
    .option('--json', 'print JSON')
    .description('say what would be reused, gone on with and computed, and why; starts nothing')
    .addHelpText('after', '\nExample:\n  p2r plan tiny-quickstart --set reasoner.lr=1e-5')
    .action(async (name: string, options: { set: string[]; json?: boolean }) => {
      const existing = /\.ts$/.test(name) ? null : await readExperiment(store, name);
      const study =
        existing === null ? await studyOr(name, await names()) : parseStudy(existing.config, name);
      const before =
        existing ?? (await readExperiment(store, `${study.name}-seed${study.seed}`).catch(() => null));
      const wanted = parseStudy(withStudySettings(study, parseAssignments(options.set)), name);
      const record =
        existing === null ? await resolveStudy(store, wanted, undefined) : withStudy(existing, wanted);
      const steps = await plannedSteps(store, record, before);
      if (options.json) printJson(steps);
      else for (const line of planLines(steps)) print(line);
    });

  program
    .command('retry')
    .argument('<experiment>')
    .argument('<phase>', 'such as iteration-1/perceiver')
    .option('--set <name=value>', 'another hyper-parameter, such as lr=5e-5', collect, [])
    .option('--from <step>', 'go on from this committed step, such as step-12')
    .description('a waiting phase: try again, with other hyper-parameters where given')
    .addHelpText(
      'after',
      '\nExample:\n  p2r retry tiny-quickstart-seed1 iteration-1/perceiver --set lr=5e-5 --from step-10',
    )
    .action(async (experiment: string, phase: string, options: { set: string[]; from?: string }) => {
      phaseOf(planOf(await find(experiment)), phase);
      await decideAtGate(store, experiment, phase, {
        kind: 'retry',
        overrides: parseAssignments(options.set),
        fromCheckpoint: options.from === undefined ? null : stepNumber(options.from),
      });
      print(`${phase} is tried again; follow it with: npx p2r watch ${experiment}`);
    });

  program
    .command('skip')
    .argument('<experiment>')
    .argument('<phase>')
    .option('--keep', 'go on from its newest checkpoint instead of from its start')
    .description('a waiting phase: leave it as it is and go on')
    .addHelpText('after', '\nExample:\n  p2r skip tiny-quickstart-seed1 iteration-1/perceiver --keep')
    .action(async (experiment: string, phase: string, options: { keep?: boolean }) => {
      phaseOf(planOf(await find(experiment)), phase);
      await decideAtGate(store, experiment, phase, {
        kind: 'skip',
        use: options.keep ? 'checkpoint' : 'start',
      });
      print(`${phase} is skipped; follow what comes next with: npx p2r watch ${experiment}`);
    });

  program
    .command('abort')
    .argument('<experiment>')
    .argument('<phase>')
    .description('a waiting phase: end the experiment here (nothing is deleted; "p2r rerun" goes on)')
    .addHelpText('after', '\nExample:\n  p2r abort tiny-quickstart-seed1 iteration-1/perceiver')
    .action(async (experiment: string, phase: string) => {
      phaseOf(planOf(await find(experiment)), phase);
      await decideAtGate(store, experiment, phase, { kind: 'abort' });
      print(`${experiment} ends.`);
    });

  for (const [verb, paused, text] of [
    ['pause', true, 'stop after a checkpoint and wait'],
    ['resume', false, 'go on after a pause'],
  ] as const)
    program
      .command(verb)
      .argument('<experiment>')
      .description(text)
      .addHelpText('after', `\nExample:\n  p2r ${verb} tiny-quickstart-seed1`)
      .action(async (experiment: string) => {
        await find(experiment);
        await setPaused(store, experiment, paused);
        print(
          paused
            ? `${experiment} pauses once its trainer has committed; go on with: npx p2r resume ${experiment}`
            : `${experiment} goes on.`,
        );
      });

  type ChangeOptions = {
    set: string[];
    step?: string;
    again?: boolean;
    plan?: boolean;
    detach?: boolean;
    json?: boolean;
  };
  const withChangeOptions = (command: Command) =>
    command
      .option('--set <name=value>', 'another hyper-parameter of that phase', collect, [])
      .option('--step <step>', 'begin that phase at one of its committed steps')
      .option('--again', 'compute it again even when nothing changes')
      .option('--plan', 'only say what would be reused and run')
      .option('--detach', 'return once it is running')
      .option('--json', 'print JSON');

  withChangeOptions(
    program
      .command('rerun')
      .argument('<experiment>')
      .requiredOption('--from <phase>', 'first phase to compute again, such as iteration-2/reasoner'),
  )
    .description('go on with an ended experiment from a phase, with other settings where given')
    .addHelpText(
      'after',
      '\nExample:\n  p2r rerun tiny-two-iterations-seed1 --from iteration-2/reasoner --set lr=1e-5',
    )
    .action(async (experiment: string, options: ChangeOptions & { from: string }) => {
      const before = await find(experiment);
      const record = rerunRecord(before, options.from, await asked(before, options.from, options));
      await planThenRun(record, before, options);
    });

  withChangeOptions(
    program
      .command('fork')
      .argument('<experiment>')
      .requiredOption('--at <phase>', 'first phase that differs')
      .requiredOption('--as <name>', 'name of the new experiment'),
  )
    .description('a new experiment that shares everything before a phase')
    .addHelpText(
      'after',
      '\nExample:\n  p2r fork tiny-quickstart-seed1 --at iteration-1/reasoner --as gentle --set lr=1e-5',
    )
    .action(async (experiment: string, options: ChangeOptions & { at: string; as: string }) => {
      const before = await find(experiment);
      const change = await asked(before, options.at, options);
      const record = await forkRecord(store, before, options.as, options.at, change);
      await planThenRun(record, before, options);
    });

  async function asked(record: ExperimentRecord, phase: string, options: ChangeOptions) {
    return changeOf(store, record, phase, {
      overrides: parseAssignments(options.set),
      step: options.step === undefined ? null : stepNumber(options.step),
      again: options.again ?? false,
    });
  }

  /** Says what would be computed and, unless that was all that was asked for, computes it. */
  async function planThenRun(record: ExperimentRecord, before: ExperimentRecord, options: ChangeOptions) {
    const steps = await plannedSteps(store, record, before);
    if (options.json && options.plan) printJson(steps);
    else if (!options.json) for (const line of planLines(steps)) print(line);
    if (options.plan) return;
    await context.withServices();
    await rerun(store, record);
    await context.followToEnd(record, options);
  }
}

async function studyOr(name: string, experiments: string[]) {
  try {
    return await loadStudy(name);
  } catch (error) {
    if (error instanceof StudyNotFoundError && experiments.length > 0)
      throw new UserError(`${error.message} Experiments: ${experiments.join(', ')}.`);
    throw error;
  }
}
