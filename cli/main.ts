/** The `p2r` command. */
import path from 'node:path';
import { Command, CommanderError, InvalidArgumentError } from 'commander';
import logUpdate from 'log-update';
import { PROJECT } from '../activities/environment.ts';
import { type ExperimentRecord, listExperiments } from '../store/experiments.ts';
import { CorruptFileError } from '../store/files.ts';
import { InvalidIdError, openStore, type Store } from '../store/layout.ts';
import { ModelInvalidError } from '../store/models.ts';
import { readProgress } from '../store/progress.ts';
import { Priority, readPriority, writePriority } from '../store/slots.ts';
import { loadStudyFile, StudyNotFoundError } from '../studies/index.ts';
import { OverridesInvalidError } from '../studies/overrides.ts';
import { PhaseUnknownError } from '../studies/revisions.ts';
import { type Study, StudyInvalidError } from '../studies/study.ts';
import { experimentsOf, type PlannedStudy } from '../studies/sweep.ts';
import { diagnose } from './commands/doctor.ts';
import {
  follow,
  progressDisplay,
  requireExperiment,
  resolveStudy,
  startExperiment,
  stopExperiment,
} from './commands/experiments.ts';
import { addDatasetsCommand } from './datasets-command.ts';
import { addDecisionCommands } from './decision-commands.ts';
import { EXIT, UserError } from './errors.ts';
import { addEvalCommand } from './eval-command.ts';
import { addGcCommand } from './gc-command.ts';
import { addModelsCommand } from './models-command.ts';
import { addNotebookCommand } from './notebook.ts';
import { ensureCluster, ensurePython } from './python-environment.ts';
import { progressLines, resultRows, resultTable, say } from './render.ts';
import { addReportCommand } from './report-command.ts';
import { addResultsCommand } from './results-command.ts';
import { down, runningServices, up } from './services/control.ts';
import { dashboardAddress } from './services/dashboard-token.ts';
import { addStudiesCommand } from './studies-command.ts';

const store: Store = openStore(process.env.P2R_HOME ?? path.join(PROJECT, '.p2r'));
const print = (line: string) => process.stdout.write(`${line}\n`);
const printJson = (value: unknown) => print(JSON.stringify(value, null, 2));

type Json = { json?: boolean };
type RunOptions = Json & { detach?: boolean; priority?: number };

function priorityNumber(text: string): number {
  const parsed = Priority.safeParse(Number(text));
  if (parsed.success) return parsed.data;
  throw new InvalidArgumentError('it must be a whole number from 1 (first) to 5.');
}

// Whoever reads the output (head, less) has seen enough.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(EXIT.ok);
});

const program = new Command('p2r')
  .description('Durable Perceive-to-Reason experiments.')
  .exitOverride()
  .showHelpAfterError('(--help shows what is allowed)');

async function withServices(): Promise<void> {
  await ensurePython(say);
  const services = await up(store);
  say(`Dashboard    ${await dashboardAddress(store, services.dashboard.url)}`);
  if (services.temporal.ui !== null) say(`Temporal UI  ${services.temporal.ui}`);
}

/** Runs a study to its end with a progress display. Ctrl-C stops services and trainer and says how to go on. */
async function runStudy(study: Study, name: string | undefined, options: RunOptions): Promise<void> {
  const wanted = await resolveStudy(store, study, name);
  await withServices();
  if (options.priority !== undefined) await writePriority(store, wanted.experiment, options.priority);
  await followToEnd(await startExperiment(store, wanted), options);
}

async function followToEnd(record: ExperimentRecord, options: Json & { detach?: boolean }): Promise<void> {
  if (options.detach) {
    if (options.json) printJson({ experiment: record.experiment });
    else print(`${record.experiment} is running; follow it with: npx p2r watch ${record.experiment}`);
    return;
  }
  const abort = new AbortController();
  const interrupt = () => abort.abort();
  process.once('SIGINT', interrupt);
  try {
    const progress = await follow(store, record, progressDisplay(process.stderr), abort.signal);
    if (process.stderr.isTTY) logUpdate.done();
    await report(record.experiment, progress.state, progress.message, options);
  } catch (error) {
    if (!abort.signal.aborted) throw error;
    if (process.stderr.isTTY) logUpdate.done();
    say('Stopping: the trainer finishes its step and commits a checkpoint.');
    await down(store, say);
    say(`Stopped; nothing is lost. Go on with: npx p2r up && npx p2r watch ${record.experiment}`);
    process.exitCode = EXIT.interrupted;
  } finally {
    process.off('SIGINT', interrupt);
  }
}

async function report(
  experiment: string,
  state: string,
  message: string | null,
  options: Json,
): Promise<void> {
  const record = await requireExperiment(store, experiment, []);
  if (options.json) {
    printJson({
      experiment,
      state,
      message,
      results: await resultRows(store, record),
      directory: store.run(experiment),
    });
  } else if (state === 'completed') {
    print(await resultTable(store, record));
    const reused = (await readProgress(store, record)).steps.filter((step) => step.state === 'reused').length;
    if (reused > 0)
      print(
        `${reused} of ${record.phases.length + record.evaluations.length} parts were computed before and have been reused.`,
      );
    print(`Run          ${store.run(experiment)}`);
    for (const phase of record.phases)
      print(`${phase.id.padEnd(24)} ${store.checkpoint(phase.key, phase.total_steps)}`);
  } else if (state === 'waiting') {
    const { steps } = await readProgress(store, record);
    const phase = steps.find((step) => step.state === 'waiting')?.id ?? '';
    print(`${phase} waits for a decision: ${message ?? 'it failed'}`);
    print(`  npx p2r retry ${experiment} ${phase} [--set lr=5e-5] [--from step-N]`);
    print(`  npx p2r skip ${experiment} ${phase} [--keep]`);
    print(`  npx p2r abort ${experiment} ${phase}`);
  } else {
    print(`${experiment} ${state}: ${message ?? 'see the Temporal UI'}`);
  }
  if (state === 'waiting' || state === 'paused') process.exitCode = EXIT.waiting;
  else if (state !== 'completed') process.exitCode = EXIT.failed;
}

program
  .command('run')
  .argument('<study...>', 'names of studies, or paths of .ts files; one after the other')
  .option('--as <name>', 'name of the experiment')
  .option('--seed <n>', 'another seed than the study’s', (text) => Number(text))
  .option('--priority <n>', 'whose turn comes first on this machine: 1 (first) to 5, else 3', priorityNumber)
  .option('--detach', 'return once it is running')
  .option('--json', 'print the result as JSON')
  .description('run studies, starting the services if need be')
  .addHelpText('after', '\nExample:\n  p2r run tiny-quickstart --seed 2 --priority 1')
  .action(async (studies: string[], options: RunOptions & { as?: string; seed?: number }) => {
    const planned: PlannedStudy[] = [];
    for (const study of studies) {
      const { seed: written, ...file } = await loadStudyFile(study);
      planned.push(...experimentsOf({ ...file, seed: options.seed ?? written }));
    }
    if (options.as !== undefined && planned.length > 1)
      throw new UserError(
        `"${studies.join(' ')}" is ${planned.length} experiments, which --as cannot name all: leave it out.`,
      );
    let first: number = EXIT.ok;
    for (const { experiment, study } of planned) {
      process.exitCode = EXIT.ok;
      await runStudy(study, options.as ?? experiment, options);
      const code = Number(process.exitCode);
      if (code === EXIT.interrupted) return;
      first = first === EXIT.ok ? code : first;
    }
    process.exitCode = first;
  });

addStudiesCommand(program, print);
addResultsCommand(program, store, print);

program
  .command('ls')
  .option('--json', 'print JSON')
  .description('list the experiments of this home')
  .addHelpText('after', '\nExample:\n  p2r ls --json')
  .action(async (options: Json) => {
    const rows = await Promise.all(
      (await listExperiments(store)).map(async (record) => {
        const { state, steps } = await readProgress(store, record);
        return {
          experiment: record.experiment,
          study: record.study,
          state,
          priority: await readPriority(store, record.experiment),
          done: steps.filter((step) => ['completed', 'reused', 'skipped'].includes(step.state)).length,
          of: steps.length,
          created_at: record.created_at,
        };
      }),
    );
    if (options.json) printJson(rows);
    else if (rows.length === 0) print('No experiments yet: start one with "p2r run tiny-quickstart".');
    else
      for (const row of rows)
        print(
          `${row.experiment.padEnd(36)} ${row.state.padEnd(10)} ${row.done}/${row.of}  priority ${row.priority}  ${row.created_at}`,
        );
  });

const names = async () => (await listExperiments(store)).map((record) => record.experiment);

const context = { store, print, printJson, names, withServices, followToEnd };
addDecisionCommands(program, context);
addGcCommand(program, context);
addNotebookCommand(program, context);

program
  .command('status')
  .argument('<experiment>')
  .option('--json', 'print JSON')
  .description('show where an experiment stands')
  .addHelpText('after', '\nExample:\n  p2r status tiny-quickstart-seed1')
  .action(async (experiment: string, options: Json) => {
    const progress = await readProgress(store, await requireExperiment(store, experiment, await names()));
    if (options.json) printJson(progress);
    else
      print(
        progressLines(progress).join('\n') + (progress.message === null ? '' : `\n  ${progress.message}`),
      );
  });

program
  .command('watch')
  .argument('<experiment>')
  .option('--json', 'print the result as JSON')
  .description('follow an experiment until it ends (Ctrl-C leaves it running)')
  .addHelpText('after', '\nExample:\n  p2r watch tiny-quickstart-seed1')
  .action(async (experiment: string, options: Json) => {
    const record = await requireExperiment(store, experiment, await names());
    const abort = new AbortController();
    process.once('SIGINT', () => abort.abort());
    try {
      const progress = await follow(store, record, progressDisplay(process.stderr), abort.signal);
      await report(experiment, progress.state, progress.message, options);
    } catch (error) {
      if (!abort.signal.aborted) throw error;
      process.exitCode = EXIT.interrupted;
    }
  });

program
  .command('priority')
  .argument('<experiment>')
  .argument('<n>', '1 (first) to 5', priorityNumber)
  .description(
    'change whose turn comes first on this machine; what computes now finishes its phase or evaluation',
  )
  .addHelpText('after', '\nExample:\n  p2r priority tiny-quickstart-seed1 1')
  .action(async (experiment: string, priority: number) => {
    await requireExperiment(store, experiment, await names());
    await writePriority(store, experiment, priority);
    print(`${experiment} has priority ${priority}.`);
  });

program
  .command('stop')
  .argument('<experiment>')
  .description(
    'cancel an experiment; its trainer commits a checkpoint first, and "p2r run" goes on from there',
  )
  .addHelpText('after', '\nExample:\n  p2r stop tiny-quickstart-seed1')
  .action(async (experiment: string) => {
    await requireExperiment(store, experiment, await names());
    await stopExperiment(store, experiment);
    print(`${experiment} is being stopped.`);
  });

program
  .command('up')
  .option('--json', 'print JSON')
  .description('start Temporal, the worker and the dashboard; running experiments go on')
  .addHelpText('after', '\nExample:\n  p2r up')
  .action(async (options: Json) => {
    await withServices();
    const services = await runningServices(store);
    if (options.json) printJson({ temporal: services?.temporal, dashboard: services?.dashboard });
  });

program
  .command('down')
  .description('stop all services; trainers commit a checkpoint first')
  .addHelpText('after', '\nExample:\n  p2r down')
  .action(async () => {
    await down(store, say);
    print('All services are stopped.');
  });

program
  .command('setup')
  .option('--cluster', "also those for Ray and veRL's configuration")
  .description('make the Python environment')
  .addHelpText('after', '\nExample:\n  p2r setup --cluster')
  .action(async (options: { cluster?: boolean }) => {
    await ensurePython(say);
    if (options.cluster) await ensureCluster(say);
    print(options.cluster ? 'The Python environments are ready.' : 'The Python environment is ready.');
  });

program
  .command('doctor')
  .option('--json', 'print JSON')
  .description('check what this machine has and lacks')
  .addHelpText('after', '\nExample:\n  p2r doctor')
  .action(async (options: Json) => {
    const findings = await diagnose(store);
    if (options.json) printJson(findings);
    else
      for (const { check, ok, detail } of findings) print(`${ok ? '✔' : '✘'} ${check.padEnd(20)} ${detail}`);
    if (findings.some(({ check, ok }) => !ok && check !== 'services')) process.exitCode = EXIT.failed;
  });

addEvalCommand(program, store);
addDatasetsCommand(program, store);
addReportCommand(program, store);
addModelsCommand(program);

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  } else if (error instanceof UserError) {
    say(`p2r: ${error.message}`);
    process.exitCode = error.exitCode;
  } else if (
    error instanceof StudyInvalidError ||
    error instanceof StudyNotFoundError ||
    error instanceof ModelInvalidError ||
    error instanceof InvalidIdError ||
    error instanceof OverridesInvalidError ||
    error instanceof PhaseUnknownError ||
    error instanceof CorruptFileError
  ) {
    say(`p2r: ${error.message}`);
    process.exitCode = EXIT.usage;
  } else {
    throw error;
  }
}
