/** Where everything lies below a home directory. Ids are checked here, so that no path can leave it. */
import path from 'node:path';

const ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,120}$/;

/** An id that could not be a single path segment. */
export class InvalidIdError extends Error {
  constructor(kind: string, id: string) {
    super(
      `"${id.slice(0, 140)}" is not a valid ${kind}: use letters, digits, ".", "_" and "-" (at most 121).`,
    );
    this.name = 'InvalidIdError';
  }
}

function checked(kind: string, id: string): string {
  if (!ID.test(id)) throw new InvalidIdError(kind, id);
  return id;
}

/** Path functions over one home directory (see the run-directory section of docs/architecture.md). */
export type Store = ReturnType<typeof openStore>;

/** Opens a home directory; nothing is created until something is written. */
export function openStore(home: string) {
  const root = path.resolve(home);
  const phase = (key: string) => path.join(root, 'phases', checked('phase key', key));
  return {
    home: root,
    services: path.join(root, 'services'),
    runs: path.join(root, 'runs'),
    run: (experiment: string) => path.join(root, 'runs', checked('experiment', experiment)),
    experimentFile: (experiment: string) =>
      path.join(root, 'runs', checked('experiment', experiment), 'experiment.json'),
    eventsFile: (experiment: string) =>
      path.join(root, 'runs', checked('experiment', experiment), 'events.jsonl'),
    phases: path.join(root, 'phases'),
    phase,
    phaseFile: (key: string) => path.join(phase(key), 'phase.json'),
    attempts: (key: string) => path.join(phase(key), 'attempts'),
    attempt: (key: string, attempt: number) => path.join(phase(key), 'attempts', String(attempt)),
    checkpoints: (key: string) => path.join(phase(key), 'checkpoints'),
    checkpoint: (key: string, step: number) =>
      path.join(phase(key), 'checkpoints', `step-${String(step).padStart(6, '0')}`),
    rollouts: (key: string) => path.join(phase(key), 'rollouts'),
    evaluations: path.join(root, 'evaluations'),
    evaluation: (key: string) => path.join(root, 'evaluations', checked('evaluation key', key)),
    scenes: (key: string) => path.join(root, 'datasets', checked('dataset key', key)),
  };
}
