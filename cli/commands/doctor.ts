/** `p2r doctor`: what this machine has and lacks. */
import { statfs } from 'node:fs/promises';
import path from 'node:path';
import { PROJECT } from '../../activities/environment.ts';
import type { Store } from '../../store/layout.ts';
import { inspectModel } from '../../store/models.ts';
import { findPython, pythonIsReady } from '../python-environment.ts';
import { runningServices } from '../services/control.ts';

/** One finding. */
export type Finding = { check: string; ok: boolean; detail: string };

/** Looks at everything the quickstart needs. */
export async function diagnose(store: Store): Promise<Finding[]> {
  const python = await findPython();
  const ready = await pythonIsReady();
  const model = await inspectModel(path.join(PROJECT, 'models', 'tiny')).then(
    (key) => ({ ok: true, detail: key }),
    (error: Error) => ({ ok: false, detail: error.message }),
  );
  const services = await runningServices(store);
  const disk = await statfs(PROJECT);
  const free = (disk.bavail * disk.bsize) / 1024 ** 3;
  return [
    { check: 'Node', ok: Number(process.versions.node.split('.')[0]) >= 24, detail: process.versions.node },
    {
      check: 'Python >= 3.11',
      ok: python !== null,
      detail: python ?? 'not found: install Python 3.11 or newer',
    },
    {
      check: 'Python environment',
      ok: ready,
      detail: ready ? 'matches engines/requirements.txt' : 'missing or stale: "npm run setup" makes it',
    },
    { check: 'tiny model', ...model },
    { check: 'free disk', ok: free > 10, detail: `${free.toFixed(1)} GB` },
    {
      check: 'services',
      ok: services !== null,
      detail:
        services === null
          ? 'not running: "p2r up" starts them'
          : `Temporal ${services.temporal.address}, dashboard ${services.dashboard.url}`,
    },
  ];
}
