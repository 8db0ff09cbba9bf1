/** Where the project's Python is, and which model directory a reference means. */
import { access } from 'node:fs/promises';
import path from 'node:path';
import type { Store } from '../store/layout.ts';
import type { ModelRef } from '../workflows/types.ts';

/** The project's root folder. */
export const PROJECT = path.resolve(import.meta.dirname, '..');

/** Interpreter of the project's Python environment. */
export const PYTHON = path.join(PROJECT, '.venv', 'bin', 'python');

/** Environment of every Python process of ours: our package, no hub, no telemetry. */
export const PYTHON_ENV: Record<string, string> = {
  PYTHONPATH: path.join(PROJECT, 'engines'),
  PYTHONUNBUFFERED: '1',
  HF_HUB_OFFLINE: '1',
  HF_HUB_DISABLE_TELEMETRY: '1',
  TOKENIZERS_PARALLELISM: 'false',
  // glibc hands every large tensor's pages back to the kernel by default; faulting them in again is a third of a CPU step.
  MALLOC_MMAP_THRESHOLD_: '4294967296',
  MALLOC_TRIM_THRESHOLD_: '8589934592',
  MALLOC_TOP_PAD_: '67108864',
  // OpenMP's threads would spin while they wait for one another: beside any other load, a browser for one, a step then takes several times
  // as long, because a core spins while what it waits for has none. Sleeping costs an idle machine a few per cent.
  OMP_WAIT_POLICY: 'PASSIVE',
};

/** Directory of a model reference: given (relative to the project), or the phase's checkpoint. */
export function modelDirectory(store: Store, model: ModelRef): string {
  return model.kind === 'directory'
    ? path.resolve(PROJECT, model.directory)
    : store.checkpoint(model.phase, model.step);
}

/** Whether the Python environment is installed. */
export async function pythonIsInstalled(): Promise<boolean> {
  return access(PYTHON).then(
    () => true,
    () => false,
  );
}
