/** From a study file to its experiments: every case with every combination of swept values, each a valid study of its own. */
import { withStudySettings } from './overrides.ts';
import { parseStudy, type Study, type StudyFile, StudyInvalidError, type StudySettings } from './study.ts';

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
      const settings = { ...overrides, ...Object.fromEntries(values) };
      const noPlace = (key: string, missing: string[]) =>
        new StudyInvalidError(where, [`${key}: there is no "${missing.join('.')}" in this study`]);
      const study = parseStudy(withStudySettings(base, settings, noPlace), where);
      const parts = [base.name, name, `seed${study.seed}`, ...values.map(label)].filter(
        (part) => part !== '',
      );
      return { experiment: parts.join('-').slice(0, 120), study };
    }),
  );
}

function combinations(axes: [string, unknown[]][]): [string, StudySettings[string]][][] {
  return axes.reduce<[string, StudySettings[string]][][]>(
    (rows, [key, values]) =>
      rows.flatMap((row) => values.map((value) => [...row, [key, value] as [string, StudySettings[string]]])),
    [[]],
  );
}

/** `lr2e-6` for `perceiver.lr`; the seed is in every name already. */
function label([key, value]: [string, unknown]): string {
  if (key === 'seed') return '';
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return `${key.split('.').at(-1)}${text}`.replaceAll(/[^A-Za-z0-9._-]+/g, '-').replaceAll(/^-+|-+$/g, '');
}
