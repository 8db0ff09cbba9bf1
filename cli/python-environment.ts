/** The one Python environment: made by uv from the hash-pinned requirements, made again when they change. */
import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { PROJECT, PYTHON } from '../activities/environment.ts';
import { EXIT, UserError } from './errors.ts';

const run = promisify(execFile);
const REQUIREMENTS = path.join(PROJECT, 'engines', 'requirements.txt');
const UV_REQUIREMENTS = path.join(PROJECT, 'engines', 'uv-requirements.txt');
const STAMP = path.join(PROJECT, '.venv', 'requirements.sha256');

/** Whether the environment matches engines/requirements.txt. */
export async function pythonIsReady(): Promise<boolean> {
  const wanted = createHash('sha256')
    .update(await readFile(REQUIREMENTS))
    .digest('hex');
  return (await readFile(STAMP, 'utf8').catch(() => '')) === wanted;
}

/** The first Python >= 3.11 found, or null. */
export async function findPython(): Promise<string | null> {
  for (const name of ['python3', 'python3.13', 'python3.12', 'python3.11', 'python']) {
    const ok = await run(name, ['-c', 'import sys; sys.exit(sys.version_info < (3, 11))']).then(
      () => true,
      () => false,
    );
    if (ok) return name;
  }
  return null;
}

async function findUv(): Promise<string | null> {
  for (const candidate of ['uv', path.join(PROJECT, '.uv', 'bin', 'uv')]) {
    const found = await run(candidate, ['--version']).then(
      () => true,
      () => false,
    );
    if (found) return candidate;
  }
  return null;
}

async function step(
  say: (line: string) => void,
  what: string,
  program: string,
  args: string[],
): Promise<void> {
  say(what);
  await new Promise<void>((resolve, reject) => {
    const child = spawn(program, args, { cwd: PROJECT, stdio: ['ignore', 'ignore', 'pipe'] });
    let errors = '';
    child.stderr.on('data', (chunk) => {
      errors = (errors + chunk).slice(-4000);
    });
    child.on('error', reject);
    child.on('exit', (code) =>
      code === 0
        ? resolve()
        : reject(
            new UserError(`${what} failed: ${errors.trim().split('\n').slice(-3).join(' ')}`, EXIT.failed),
          ),
    );
  });
}

/** Makes the environment when it is missing or stale. Throws a {@link UserError} that names what is missing. */
export async function ensurePython(say: (line: string) => void): Promise<void> {
  if (await pythonIsReady()) return;
  const python = await findPython();
  if (python === null)
    throw new UserError(
      'Python 3.11 or newer was not found: install it (python.org, or your system\'s package "python3") and run again.',
    );
  let uv = await findUv();
  if (uv === null) {
    const venv = path.join(PROJECT, '.uv');
    await step(say, 'Making a virtual environment for uv', python, ['-m', 'venv', venv]).catch(() => {
      throw new UserError(
        `${python} cannot make virtual environments: install its venv module (on Debian: apt-get install python3-venv).`,
      );
    });
    uv = path.join(venv, 'bin', 'uv');
    await step(say, 'Installing uv', path.join(venv, 'bin', 'python'), [
      '-m',
      'pip',
      'install',
      '-q',
      '--require-hashes',
      '-r',
      UV_REQUIREMENTS,
    ]);
  }
  await step(say, 'Making the Python environment', uv, [
    'venv',
    '-q',
    '--allow-existing',
    '--python',
    '>=3.11,<3.14',
    path.dirname(path.dirname(PYTHON)),
  ]);
  await step(
    say,
    'Installing PyTorch, TRL, Transformers and Temporal (about 6 GB on disk; the first time takes a while)',
    uv,
    ['pip', 'sync', '-q', '--require-hashes', '--python', PYTHON, REQUIREMENTS],
  );
  await writeFile(
    STAMP,
    createHash('sha256')
      .update(await readFile(REQUIREMENTS))
      .digest('hex'),
  );
}
