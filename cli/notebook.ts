/** `p2r notebook`: JupyterLab with the Deno kernel and plotly's renderer, in a Python environment of its own. */
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import path from 'node:path';
import type { Command } from 'commander';
import { PROJECT } from '../activities/environment.ts';
import { writeJson } from '../store/files.ts';
import type { Store } from '../store/layout.ts';
import { requireExperiment } from './commands/experiments.ts';
import type { CommandContext } from './decision-commands.ts';
import { EXIT } from './errors.ts';
import { ensureNotebooks } from './python-environment.ts';

/** Folder of the notebooks. */
export const NOTEBOOKS = path.join(PROJECT, 'notebooks');

/** Makes the environment and its kernel where they are missing; returns the environment's Python. Throws a UserError. */
export async function prepareNotebooks(say: (line: string) => void): Promise<string> {
  const python = await ensureNotebooks(say);
  const deno = createRequire(import.meta.url).resolve('deno/bin.cjs');
  const environment = path.dirname(path.dirname(python));
  await writeJson(path.join(environment, 'share', 'jupyter', 'kernels', 'deno', 'kernel.json'), {
    argv: [process.execPath, deno, 'jupyter', '--kernel', '--conn', '{connection_file}'],
    display_name: 'Deno',
    language: 'typescript',
    // Without it, texts come with the terminal's colour codes.
    env: { NO_COLOR: '1' },
  });
  return python;
}

/** Adds the command to the program. */
export function addNotebookCommand(program: Command, { store, names }: CommandContext): void {
  program
    .command('notebook')
    .argument('[experiment]', 'experiment that the notebooks show; without it, the runs stored beside them')
    .description('open the notebooks in JupyterLab')
    .addHelpText('after', '\nExample:\n  p2r notebook tiny-quickstart-seed1')
    .action(async (experiment: string | undefined) => {
      const shown = experiment === undefined ? {} : await shownBy(store, experiment, await names());
      process.exitCode = await openNotebooks(shown, (line) => process.stderr.write(`${line}\n`));
    });
}

/** The notebooks' parameters for an experiment: its home, its name, and its study, whose other seeds are shown with it. */
async function shownBy(store: Store, experiment: string, known: string[]): Promise<Record<string, string>> {
  const { study } = await requireExperiment(store, experiment, known);
  return { P2R_HOME: store.home, P2R_EXPERIMENT: experiment, P2R_STUDY: study };
}

/** Opens JupyterLab on the notebooks until it is ended; `shown` are their parameters. Resolves to its exit code. */
async function openNotebooks(shown: Record<string, string>, say: (line: string) => void): Promise<number> {
  const python = await prepareNotebooks(say);
  const { P2R_HOME: _, ...env } = process.env;
  const child = spawn(
    python,
    ['-m', 'jupyterlab', '--notebook-dir', PROJECT, '--LabApp.default_url=/lab/tree/notebooks'],
    { cwd: PROJECT, stdio: 'inherit', env: { ...env, ...shown } },
  );
  // JupyterLab asks before it ends at Ctrl-C; the answer is its own.
  const wait = () => undefined;
  process.on('SIGINT', wait);
  return new Promise<number>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => resolve(code ?? EXIT.failed));
  }).finally(() => process.off('SIGINT', wait));
}
