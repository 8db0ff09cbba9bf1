/** Python environments: made by uv from hash-pinned requirements, made again when they change. */
import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { PROJECT, PYTHON } from '../activities/environment.ts';
import { writeFileAtomic } from '../store/files.ts';
import { EXIT, UserError } from './errors.ts';

const run = promisify(execFile);
const UV_REQUIREMENTS = path.join(PROJECT, 'engines', 'uv-requirements.txt');

/**
 * A Python environment of the project. Packages of `alone` are installed without those that they ask for; a cluster's group adds these, so what
 * else such an environment holds stays.
 */
type Environment = { python: string; requirements: string; alone?: string; installing: string };

const ENGINES: Environment = {
  python: PYTHON,
  requirements: path.join(PROJECT, 'engines', 'requirements.txt'),
  installing:
    'Installing PyTorch, TRL, Transformers and Temporal (about 6 GB on disk; the first time takes a while)',
};

const NOTEBOOKS: Environment = {
  python: path.join(PROJECT, '.venv-notebooks', 'bin', 'python'),
  requirements: path.join(PROJECT, 'notebooks', 'requirements.txt'),
  installing: 'Installing JupyterLab (about 250 MB on disk)',
};

/** Ray and the configuration files of both versions of veRL that a study may name. */
const CLUSTER = ['0.9', '0.8'].map(
  (version): Environment => ({
    python: path.join(PROJECT, version === '0.9' ? '.venv-verl' : `.venv-verl-${version}`, 'bin', 'python'),
    requirements: path.join(PROJECT, 'engines', 'cluster-requirements.txt'),
    alone: path.join(PROJECT, 'engines', `verl-${version}-requirements.txt`),
    installing: `Installing Ray's client side and veRL ${version}'s configuration (about 350 MB on disk)`,
  }),
);

const folderOf = ({ python }: Environment) => path.dirname(path.dirname(python));
const stampOf = (environment: Environment) => path.join(folderOf(environment), 'requirements.sha256');

async function hashOf({ requirements, alone }: Environment): Promise<string> {
  const hash = createHash('sha256').update(await readFile(requirements));
  if (alone !== undefined) hash.update(await readFile(alone));
  return hash.digest('hex');
}

async function isReady(environment: Environment): Promise<boolean> {
  return (await readFile(stampOf(environment), 'utf8').catch(() => '')) === (await hashOf(environment));
}

/** Whether the environment matches engines/requirements.txt. */
export async function pythonIsReady(): Promise<boolean> {
  return isReady(ENGINES);
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

/** Makes the engines' environment when it is missing or stale. Throws a {@link UserError} that names what is missing. */
export async function ensurePython(say: (line: string) => void): Promise<void> {
  await ensure(ENGINES, say);
}

/** Makes the notebooks' environment when it is missing or stale, and returns its Python. Throws a {@link UserError}. */
export async function ensureNotebooks(say: (line: string) => void): Promise<string> {
  await ensure(NOTEBOOKS, say);
  return NOTEBOOKS.python;
}

/**
 * Makes the environments that check a cluster's configuration and talk to Ray, where they are missing or stale; what a group has installed
 * into them stays. Throws a {@link UserError}.
 */
export async function ensureCluster(say: (line: string) => void): Promise<void> {
  for (const environment of CLUSTER) await ensure(environment, say);
}

async function ensure(environment: Environment, say: (line: string) => void): Promise<void> {
  if (await isReady(environment)) return;
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
    folderOf(environment),
  ]);
  const install = (...args: string[]) =>
    step(say, environment.installing, uv, [
      'pip',
      ...args,
      '-q',
      '--require-hashes',
      '--python',
      environment.python,
    ]);
  if (environment.alone === undefined) await install('sync', environment.requirements);
  else {
    await install('install', '-r', environment.requirements);
    await install('install', '--no-deps', '-r', environment.alone);
  }
  await writeFileAtomic(stampOf(environment), await hashOf(environment));
}
