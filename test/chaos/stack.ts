/** The embedded stack of one home, driven as its user drives it (the command line) and looked at as its files and processes show it. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { datasetFiles, ownerDirectory, serviceFiles } from '../../activities/phase-files.ts';
import { attach, isAlive, type ProcessRecord } from '../../activities/processes.ts';
import { readServices } from '../../cli/services/state.ts';
import { type ExperimentRecord, readExperiment } from '../../store/experiments.ts';
import { openStore, type Store } from '../../store/layout.ts';
import { listAttempts } from '../../store/metrics.ts';
import { predictionFiles } from '../../store/predictions.ts';
import { type Progress, readProgress } from '../../store/progress.ts';
import { planOf } from '../../studies/revisions.ts';
import type { PhasePlan } from '../../workflows/types.ts';

const run = promisify(execFile);
export const PROJECT = path.resolve(import.meta.dirname, '..', '..');
const P2R = path.join(PROJECT, 'cli', 'bin', 'p2r.mjs');

/** Processes that a fault can strike. */
export type Target = 'worker' | 'temporal' | 'dashboard' | 'trainer' | 'model server' | 'reward service';

/** What runs at a moment: the part that is being computed and the live processes. */
export type Look = {
  progress: Progress;
  /** The phase or evaluation that runs, or null between two. */
  part: { id: string; key: string; kind: 'phase' | 'evaluation'; step: number } | null;
  alive: Partial<Record<Target, ProcessRecord>>;
};

/** One home with its services and one experiment. */
export class Stack {
  readonly home: string;
  readonly store: Store;
  readonly experiment: string;
  /** Whether the home has a file system of its own, which may be filled up. */
  readonly ownDisk: boolean;

  constructor(home: string, experiment: string, ownDisk: boolean) {
    this.home = home;
    this.store = openStore(home);
    this.experiment = experiment;
    this.ownDisk = ownDisk;
  }

  /** Runs `p2r ARGS` and returns what it prints. Rejects with its message. */
  async p2r(...args: string[]): Promise<string> {
    const options = { cwd: PROJECT, env: { ...process.env, P2R_HOME: this.home }, maxBuffer: 1 << 26 };
    return run(process.execPath, [P2R, ...args], options).then(
      ({ stdout }) => stdout,
      (error: Error & { stderr?: string }) => {
        throw new Error(`p2r ${args.join(' ')}: ${error.stderr?.trim() || error.message}`);
      },
    );
  }

  /** The experiment's record; throws while it has none. */
  async record(): Promise<ExperimentRecord> {
    const record = await readExperiment(this.store, this.experiment);
    if (record === null) throw new Error(`${this.experiment} has not been started.`);
    return record;
  }

  async look(): Promise<Look> {
    const progress = await readProgress(this.store, await this.record());
    const running = progress.steps.find((step) => step.state === 'running') ?? null;
    const part = running && { id: running.id, key: running.key, kind: running.kind, step: running.step };
    const alive: Look['alive'] = {};
    const services = await readServices(this.store).catch(() => null);
    for (const name of ['worker', 'temporal', 'dashboard'] as const) {
      const child = services?.children[name];
      if (child !== undefined && (await isAlive(child))) alive[name] = child;
    }
    if (part !== null) {
      const files = serviceFiles(ownerDirectory(this.store, part.key));
      const trainer = part.kind === 'phase' ? await this.trainerRecord(part.key) : null;
      const found = {
        'model server': await attach(files.model(0).record),
        'reward service': await attach(files.reward(0).record),
        trainer: trainer === null ? null : await attach(trainer),
      };
      for (const [name, process] of Object.entries(found))
        if (process !== null) alive[name as Target] = process;
    }
    return { progress, part, alive };
  }

  /** Record file of the newest attempt's trainer. */
  async trainerRecord(phaseKey: string): Promise<string | null> {
    const attempt = (await listAttempts(this.store, phaseKey)).at(-1);
    return attempt === undefined ? null : path.join(this.store.attempt(phaseKey, attempt), 'process.json');
  }

  /** The phases of the plan as the workflows see them. */
  async phases(): Promise<PhasePlan[]> {
    return planOf(await this.record()).phases;
  }

  /** Bytes of answers on disk (evidence and predictions): they grow while no step is trained. */
  async answered(): Promise<number> {
    const record = await this.record();
    const files = [
      ...record.phases.map(({ key }) => datasetFiles(this.store, key).perceptions),
      ...record.evaluations.map(({ key }) => predictionFiles(this.store, key).calls),
    ];
    const sizes = files.map((file) =>
      stat(file).then(
        ({ size }) => size,
        () => 0,
      ),
    );
    return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
  }

  /** Every live process whose command line names the home. */
  async processes(): Promise<{ pid: number; command: string }[]> {
    const found: { pid: number; command: string }[] = [];
    for (const name of await readdir('/proc')) {
      if (!/^\d+$/.test(name) || Number(name) === process.pid) continue;
      const text = await readFile(`/proc/${name}/cmdline`, 'utf8').catch(() => '');
      if (text.includes(`${this.home}/`) || text.split('\0').includes(this.home))
        found.push({ pid: Number(name), command: text.replaceAll('\0', ' ').trim() });
    }
    return found;
  }

  /** Deletes the checkpoints of finished phases that nothing needs, as somebody short of disk would. */
  async collectGarbage(): Promise<void> {
    await this.p2r('gc', '--keep', '2');
  }

  /** Starts the experiment and returns when it runs. */
  async start(study: string, seed: number): Promise<void> {
    await this.p2r('run', study, '--as', this.experiment, '--seed', String(seed), '--detach');
  }

  /** Stops everything of the home; returns what is left of it nevertheless. */
  async down(): Promise<string[]> {
    if (!existsSync(this.home)) return [];
    await this.p2r('down');
    const ours = await this.processes();
    return ours.map(({ command }) => command);
  }
}
