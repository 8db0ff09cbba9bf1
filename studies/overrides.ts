/** Hyper-parameters that a user changes for one phase or one study: parsed from text, checked by the schema that studies use. */
import type { z } from 'zod';
import { Hyperparameters } from './study.ts';

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
export function parseAssignments(assignments: string[]): Record<string, unknown> {
  return Object.fromEntries(
    assignments.map((assignment) => {
      const at = assignment.indexOf('=');
      if (at < 1) throw new OverridesInvalidError([`"${assignment}" is not of the form name=value`]);
      const text = assignment.slice(at + 1);
      try {
        return [assignment.slice(0, at), JSON.parse(text) as unknown];
      } catch {
        return [assignment.slice(0, at), text];
      }
    }),
  );
}

/** A copy of `study` with values set at dotted paths (`perceiver.lr`); the caller validates the result. */
export function withStudySettings(study: object, settings: Record<string, unknown>): Record<string, unknown> {
  const copy = structuredClone(study) as Record<string, unknown>;
  for (const [path, value] of Object.entries(settings)) {
    const keys = path.split('.');
    const last = keys.pop() ?? path;
    let place = copy;
    for (const key of keys) {
      const next = place[key];
      if (typeof next !== 'object' || next === null || Array.isArray(next))
        throw new OverridesInvalidError([
          `${path}: there is no "${key}" with settings of its own in a study`,
        ]);
      place = next as Record<string, unknown>;
    }
    place[last] = value;
  }
  return copy;
}
