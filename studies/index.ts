/** The studies that come with the project, by name; a path to a .ts file works as well. */
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseStudyFile, type Study, type StudyFile, StudyInvalidError } from './study.ts';
import { experimentsOf, type PlannedStudy } from './sweep.ts';

const NOT_STUDIES = new Set([
  'acceptance.ts',
  'cost.ts',
  'index.ts',
  'overrides.ts',
  'paper-settings.ts',
  'plan.ts',
  'revisions.ts',
  'study.ts',
  'sweep.ts',
  'tiny-settings.ts',
]);

/** No study of that name or path. */
export class StudyNotFoundError extends Error {
  constructor(name: string, known: string[]) {
    super(`There is no study "${name}". Known studies: ${known.join(', ')}; or give the path of a .ts file.`);
    this.name = 'StudyNotFoundError';
  }
}

/** Names of the studies in this folder. */
export async function studyNames(): Promise<string[]> {
  const files = await readdir(import.meta.dirname);
  return files
    .filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts') && !NOT_STUDIES.has(file))
    .map((file) => file.slice(0, -3))
    .sort();
}

/** Loads a study by name or path, without its cases and sweep. Throws {@link StudyNotFoundError} or StudyInvalidError. */
export async function loadStudy(nameOrPath: string): Promise<Study> {
  const { cases: _cases, sweep: _sweep, ...study } = await loadStudyFile(nameOrPath);
  return study;
}

/** Loads the experiments that a study stands for: one, unless it names cases or sweeps values. Throws as {@link loadStudy}. */
export async function loadExperiments(nameOrPath: string): Promise<PlannedStudy[]> {
  return experimentsOf(await loadStudyFile(nameOrPath));
}

/** Loads a study file whole. Throws as {@link loadStudy}. */
export async function loadStudyFile(nameOrPath: string): Promise<StudyFile> {
  const names = await studyNames();
  const file = nameOrPath.endsWith('.ts')
    ? path.resolve(nameOrPath)
    : path.join(import.meta.dirname, `${nameOrPath}.ts`);
  if (!existsSync(file) || (!nameOrPath.endsWith('.ts') && !names.includes(nameOrPath)))
    throw new StudyNotFoundError(nameOrPath, names);
  const module = (await import(pathToFileURL(file).href).catch((error: Error) => {
    // defineStudy throws while the file is being loaded; its own sentence says most.
    if (error instanceof StudyInvalidError) throw error;
    throw new StudyInvalidError(nameOrPath, [`it cannot be loaded: ${error.message.split('\n')[0]}`]);
  })) as { default?: unknown };
  return parseStudyFile((module.default ?? {}) as Record<string, unknown>, nameOrPath);
}
