/** What `p2r models ls` and `p2r models verify` do. */
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import Table from 'cli-table3';
import { PROJECT } from '../activities/environment.ts';
import { CorruptFileError } from '../store/files.ts';
import {
  licenceOf,
  MODEL_RECORD,
  type ModelRecord,
  modelFaults,
  readModelRecord,
} from '../store/model-records.ts';
import { EXIT, UserError } from './errors.ts';

const MODELS = path.join(PROJECT, 'models');
const SPLIT = 'held-out';
const print = (line: string) => process.stdout.write(`${line}\n`);

/** A model directory as it stands: its record (null: none), and sentences on what is wrong with it. */
export type ModelState = {
  name: string;
  directory: string;
  licence: string | null;
  /** `whole`; `damaged`: a file is not what the record says; `unrecorded`: there is nothing to compare with. */
  state: 'whole' | 'damaged' | 'unrecorded';
  faults: string[];
  record: ModelRecord | null;
};

const isModel = (directory: string) =>
  ['config.json', MODEL_RECORD].some((file) => existsSync(path.join(directory, file)));

/** The model directories of a folder, by name. Throws a UserError where the folder cannot be read. */
async function modelsOf(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => {
    throw new UserError(`${folder} is not a folder that can be read.`);
  });
  return entries
    .filter((entry) => entry.isDirectory() && isModel(path.join(folder, entry.name)))
    .map((entry) => path.join(folder, entry.name))
    .sort();
}

/** Compares a model's files with its record. A record that cannot be read is a fault, a missing one leaves nothing to compare with. */
export async function inspect(directory: string): Promise<ModelState> {
  const about = { name: path.basename(directory), directory, licence: await licenceOf(directory) };
  const inside = path.relative(process.cwd(), directory);
  const shown = inside === '' || inside.startsWith('..') ? directory : inside;
  try {
    const record = await readModelRecord(directory);
    if (record === null) {
      const fault = `${shown} has no ${MODEL_RECORD}, so nothing says what its files should be: it was not made by "p2r models pretrain".`;
      return { ...about, state: 'unrecorded', faults: [fault], record: null };
    }
    const faults = (await modelFaults(directory, record)).map(
      ({ file, why }) => `${path.join(shown, file)} ${why}.`,
    );
    return { ...about, state: faults.length === 0 ? 'whole' : 'damaged', faults, record };
  } catch (error) {
    if (!(error instanceof CorruptFileError)) throw error;
    return { ...about, state: 'damaged', faults: [error.message], record: null };
  }
}

/** Prints the models of a folder. */
export async function listModels(folder: string | undefined, options: { json?: boolean }): Promise<void> {
  const where = folder === undefined ? MODELS : path.resolve(folder);
  const states = await Promise.all((await modelsOf(where)).map(inspect));
  if (options.json) print(JSON.stringify(states, null, 2));
  else if (states.length === 0) print(`${where} holds no models.`);
  else print(modelTable(states));
}

/** The models as a table: held-out figures with 95 % intervals in percent. */
export function modelTable(states: ModelState[]): string {
  const table = new Table({
    head: ['model', 'parameters', 'direct', 'P2R', 'hit rate', 'licence', 'files'],
    style: { head: [], border: [] },
  });
  for (const { name, record, licence, state, faults } of states) {
    const figures = record?.figures[SPLIT];
    const files = { whole: 'whole', damaged: `damaged (${faults.length})`, unrecorded: `no ${MODEL_RECORD}` };
    table.push([
      name,
      record === null ? '-' : `${(record.parameters / 1e6).toFixed(1)} M`,
      figures === undefined ? '-' : percent(figures.direct.share, figures.direct.interval),
      figures === undefined ? '-' : percent(figures.p2r.share, figures.p2r.interval),
      figures === undefined ? '-' : percent(figures.hit_rate.mean, figures.hit_rate.interval),
      licence ?? '-',
      files[state],
    ]);
  }
  return table.toString();
}

function percent(value: number, [low, high]: [number, number]): string {
  const [middle, from, to] = [value, low, high].map((share) => (share * 100).toFixed(1));
  return `${middle} % [${from}, ${to}]`;
}

/** Checks models by name or directory, all of models/ without any; exit code 1 when one is not whole. */
export async function verifyModels(names: string[], options: { json?: boolean }): Promise<void> {
  const known = await modelsOf(MODELS);
  const directories = names.length === 0 ? known : names.map((name) => directoryOf(name, known));
  if (directories.length === 0) throw new UserError(`${MODELS} holds no models.`);
  const states = await Promise.all(directories.map(inspect));
  if (options.json) print(JSON.stringify(states, null, 2));
  else for (const state of states) print(verdict(state));
  if (states.some(({ state }) => state !== 'whole')) process.exitCode = EXIT.failed;
}

function directoryOf(name: string, known: string[]): string {
  const directory = [path.join(MODELS, name), path.resolve(name)].find(isModel);
  if (directory !== undefined) return directory;
  const names = known.map((each) => path.basename(each)).join(', ');
  throw new UserError(`"${name}" is neither a model of models/ (${names}) nor a model directory.`);
}

function verdict({ name, state, faults, record }: ModelState): string {
  if (state === 'whole')
    return `${name} is whole: ${Object.keys(record?.files ?? {}).length} files have the sha256 of ${MODEL_RECORD}.`;
  if (state === 'unrecorded') return faults.join('\n');
  return `${name} is not whole; bring it back from version control or make it again:\n${faults.map((fault) => `  ${fault}`).join('\n')}`;
}
