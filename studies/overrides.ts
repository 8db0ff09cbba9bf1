/** Hyper-parameters that a user changes for one phase or one study: parsed from text, checked by the schema that studies use. */
import type { z } from 'zod';
import { Hyperparameters, type StudySettings } from './study.ts';

/** New values for some hyper-parameters of a phase. */
export const Overrides = Hyperparameters.partial();
export type Overrides = z.infer<typeof Overrides>;

/** Overrides that do not fit; the message names the key and what is allowed. */
export class OverridesInvalidError extends Error {
  constructor(problems: string[]) {
    super(`These settings cannot be used: ${problems.join('; ')}.`);
    this.name = 'OverridesInvalidError';
  }
}

/** Validates overrides; throws {@link OverridesInvalidError} with every wrong key. */
export function parseOverrides(value: unknown): Overrides {
  const parsed = Overrides.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new OverridesInvalidError(
    parsed.error.issues.map((issue) =>
      issue.code === 'unrecognized_keys'
        ? `${issue.keys.join(', ')} is not a hyper-parameter (there are ${Object.keys(Overrides.shape).join(', ')})`
        : `${issue.path.join('.') || 'overrides'}: ${issue.message}`,
    ),
  );
}

/** `["lr=5e-5", "loss_agg_mode=token-mean"]` -> `{lr: 5e-5, ...}`; values are JSON where they can be, text otherwise. */
export function parseAssignments(assignments: string[]): StudySettings {
  return Object.fromEntries(
    assignments.map((assignment) => {
      const at = assignment.indexOf('=');
      if (at < 1) throw new OverridesInvalidError([`"${assignment}" is not of the form name=value`]);
      const text = assignment.slice(at + 1);
      try {
        return [assignment.slice(0, at), JSON.parse(text) as StudySettings[string]];
      } catch {
        return [assignment.slice(0, at), text];
      }
    }),
  );
}

/**
 * A copy of `study` with values set at dotted paths (`perceiver.lr`); the caller validates the result. A path whose parent has no settings
 * of its own is the error that `noPlace` makes of it and of its parts up to the one that is missing.
 */
export function withStudySettings(
  study: object,
  settings: StudySettings,
  noPlace = (path: string, missing: string[]): Error =>
    new OverridesInvalidError([
      `${path}: there is no "${missing.at(-1)}" with settings of its own in a study`,
    ]),
): Record<string, unknown> {
  const copy = structuredClone(study) as Record<string, unknown>;
  for (const [path, value] of Object.entries(settings)) {
    const keys = path.split('.');
    const last = keys.pop() ?? '';
    let place = copy;
    keys.forEach((key, index) => {
      const next = Object.hasOwn(place, key) ? place[key] : undefined;
      if (!isRecord(next)) throw noPlace(path, keys.slice(0, index + 1));
      place = next;
    });
    if (last === '__proto__') throw noPlace(path, [...keys, last]);
    place[last] = structuredClone(value);
  }
  return copy;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
