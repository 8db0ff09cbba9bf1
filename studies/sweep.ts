/** From a study file to its experiments: every case with every combination of swept values, each a valid study of its own. */
import { type Overrides, parseStudy, type Study, type StudyFile, StudyInvalidError } from './study.ts';

/** A study to run and the name of its experiment. */
export type PlannedStudy = { experiment: string; study: Study };

/**
 * The experiments of a study file, cases first, then the swept values in the order they are written. Experiments are called after study,
 * case and swept values (`figure-5-ablation-p-only-seed1-lr2e-6`). Throws StudyInvalidError for a key or value that no study may have.
 */
export function experimentsOf(file: StudyFile): PlannedStudy[] {
  const { cases, sweep, ...base } = file;
  const named = Object.entries(cases ?? { '': {} });
  return named.flatMap(([name, overrides]) =>
    combinations(Object.entries(sweep ?? {})).map((values) => {
      const where = `study "${base.name}"${name === '' ? '' : `, case "${name}"`}`;
      const study = parseStudy(apply(base, { ...overrides, ...Object.fromEntries(values) }, where), where);
      const parts = [base.name, name, `seed${study.seed}`, ...values.map(label)].filter(
        (part) => part !== '',
      );
      return { experiment: parts.join('-').slice(0, 120), study };
    }),
  );
}

/** A copy of a study with values set by dotted key. A key whose parent does not exist is a StudyInvalidError. */
export function apply(study: Study, overrides: Overrides, where: string): unknown {
  const copy = structuredClone(study) as Record<string, unknown>;
  for (const [key, value] of Object.entries(overrides)) {
    const path = key.split('.');
    const last = path.pop() ?? '';
    let target: unknown = copy;
    for (const part of path)
      target = isRecord(target) && Object.hasOwn(target, part) ? target[part] : undefined;
    if (!isRecord(target) || last === '__proto__')
      throw new StudyInvalidError(where, [`${key}: there is no "${path.join('.')}" in this study`]);
    target[last] = structuredClone(value);
  }
  return copy;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function combinations(axes: [string, unknown[]][]): [string, Overrides[string]][][] {
  return axes.reduce<[string, Overrides[string]][][]>(
    (rows, [key, values]) =>
      rows.flatMap((row) => values.map((value) => [...row, [key, value] as [string, Overrides[string]]])),
    [[]],
  );
}

/** `lr2e-6` for `perceiver.lr`; the seed is in every name already. */
function label([key, value]: [string, unknown]): string {
  if (key === 'seed') return '';
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return `${key.split('.').at(-1)}${text}`.replaceAll(/[^A-Za-z0-9._-]+/g, '-').replaceAll(/^-+|-+$/g, '');
}
