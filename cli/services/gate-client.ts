/** The dashboard's way to a waiting phase: the same plan and the same updates as `p2r plan` and `p2r retry`. */
import { type GateClient, GateRefusedError, type Retry } from '../../dashboards/server/gate.ts';
import { readExperiment } from '../../store/experiments.ts';
import type { Store } from '../../store/layout.ts';
import { plannedSteps } from '../../store/reuse.ts';
import { OverridesInvalidError } from '../../studies/overrides.ts';
import { PhaseUnknownError, revise } from '../../studies/revisions.ts';
import { changeOf, decideAtGate } from '../commands/deciding.ts';
import { UserError } from '../errors.ts';

/** Opens the gate of one home. */
export function createGateClient(store: Store): GateClient {
  return {
    plan: (experiment, phase, { overrides, fromCheckpoint }: Retry) =>
      refusable(async () => {
        const before = await readExperiment(store, experiment);
        if (before === null) throw new GateRefusedError(`There is no experiment "${experiment}".`);
        const change = await changeOf(store, before, phase, {
          overrides,
          step: fromCheckpoint,
          again: false,
        });
        const time = new Date().toISOString();
        const after = revise(before, phase, change, { kind: 'retry', request: `plan ${time}`, time });
        return plannedSteps(store, after, before);
      }),
    retry: (experiment, phase, retry) =>
      refusable(() => decideAtGate(store, experiment, phase, { kind: 'retry', ...retry })),
    skip: (experiment, phase, use) =>
      refusable(() => decideAtGate(store, experiment, phase, { kind: 'skip', use })),
    abort: (experiment, phase) => refusable(() => decideAtGate(store, experiment, phase, { kind: 'abort' })),
  };
}

async function refusable<T>(action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    if (
      error instanceof UserError ||
      error instanceof OverridesInvalidError ||
      error instanceof PhaseUnknownError
    )
      throw new GateRefusedError(error.message);
    throw error;
  }
}
