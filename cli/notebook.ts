/** `p2r notebook`: JupyterLab with the Deno kernel and plotly's renderer, in a Python environment of its own. */
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import path from 'node:path';
import { PROJECT } from '../activities/environment.ts';
import { writeJson } from '../store/files.ts';
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

/** Opens JupyterLab on the notebooks until it is ended; `home` is what they read. Resolves to its exit code. */
export async function openNotebooks(home: string | null, say: (line: string) => void): Promise<number> {
  const python = await prepareNotebooks(say);
  const child = spawn(
    python,
    ['-m', 'jupyterlab', '--notebook-dir', PROJECT, '--LabApp.default_url=/lab/tree/notebooks'],
    {
      cwd: PROJECT,
      stdio: 'inherit',
      env: { ...process.env, ...(home !== null && { P2R_HOME: home }) },
    },
  );
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => resolve(code ?? 1));
  });
}
