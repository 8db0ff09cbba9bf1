/** The studies that come with the project, by name; a path to a .ts file works as well. */
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseStudy, type Study } from './study.ts';

const NOT_STUDIES = new Set([
  'acceptance.ts',
  'index.ts',
  'overrides.ts',
  'plan.ts',
  'revisions.ts',
  'study.ts',
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

/** Loads a study by name or path. Throws {@link StudyNotFoundError} or StudyInvalidError. */
export async function loadStudy(nameOrPath: string): Promise<Study> {
  const names = await studyNames();
  const file = nameOrPath.endsWith('.ts')
    ? path.resolve(nameOrPath)
    : path.join(import.meta.dirname, `${nameOrPath}.ts`);
  if (!existsSync(file) || (!nameOrPath.endsWith('.ts') && !names.includes(nameOrPath)))
    throw new StudyNotFoundError(nameOrPath, names);
  const module = (await import(pathToFileURL(file).href)) as { default?: unknown };
  return parseStudy(module.default, nameOrPath);
}
