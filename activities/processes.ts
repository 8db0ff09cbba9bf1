/**
 * Processes that outlive their worker: create or attach by a record file. A record holds the pid and the process's start time, so that
 * a pid that was given to somebody else is never mistaken for ours.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { mkdir, readFile, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { z } from 'zod';
import { readJson, writeJson } from '../store/files.ts';

/** What is known of a running process. */
export const ProcessRecord = z.object({
  /** A record on a shared file system is of this host only; another's process is not running here. */
  host: z.string().default(os.hostname()),
  pid: z.int().positive(),
  started: z.string(),
  command: z.array(z.string()),
  log: z.string(),
});
export type ProcessRecord = z.infer<typeof ProcessRecord>;

/** How to start a process; output goes to `log`. */
export type ProcessSpec = { command: string[]; env?: Record<string, string>; cwd?: string; log: string };

const run = promisify(execFile);

/** An opaque start stamp of a live process, or null when the pid is not running (a zombie is not). */
async function startStamp(pid: number): Promise<string | null> {
  if (process.platform === 'linux') {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => null);
    if (stat === null) return null;
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' ? null : (fields[19] ?? null);
  }
  return run('ps', ['-o', 'lstart=', '-p', String(pid)]).then(
    ({ stdout }) => stdout.trim() || null,
    () => null,
  );
}

/** Whether the recorded process is still the one running under its pid. */
export async function isAlive(record: ProcessRecord): Promise<boolean> {
  return record.host === os.hostname() && (await startStamp(record.pid)) === record.started;
}

/** The process of a record file when it is alive, else null. */
export async function attach(recordFile: string): Promise<ProcessRecord | null> {
  const record = await readJson(recordFile, ProcessRecord).catch(() => null);
  return record !== null && (await isAlive(record)) ? record : null;
}

/** Starts a process in its own session and records it. Throws when the program cannot be started. */
export async function launch(recordFile: string, spec: ProcessSpec): Promise<ProcessRecord> {
  await mkdir(path.dirname(spec.log), { recursive: true });
  await mkdir(path.dirname(recordFile), { recursive: true });
  const [program, ...args] = spec.command;
  if (program === undefined) throw new TypeError('A process needs a command.');
  const output = openSync(spec.log, 'a');
  let child: ChildProcess;
  try {
    child = spawn(program, args, {
      detached: true,
      stdio: ['ignore', output, output],
      env: { ...process.env, ...spec.env },
      ...(spec.cwd === undefined ? {} : { cwd: spec.cwd }),
    });
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve);
      child.once('error', (error) => reject(new Error(`${program} could not be started: ${error.message}.`)));
    });
  } finally {
    closeSync(output);
  }
  child.unref();
  const pid = child.pid as number;
  const record = {
    host: os.hostname(),
    pid,
    started: (await startStamp(pid)) ?? 'exited',
    command: spec.command,
    log: spec.log,
  };
  await writeJson(recordFile, record);
  return record;
}

/**
 * Asks the process group to end (SIGTERM), waits up to `graceMs`, then kills it. `beat` is called while waiting. The record goes, too,
 * unless it is another process's by then.
 */
export async function stop(
  recordFile: string,
  graceMs: number,
  beat: () => void = () => undefined,
): Promise<void> {
  const record = await attach(recordFile);
  if (record !== null) {
    signalGroup(record.pid, 'SIGTERM');
    const deadline = Date.now() + graceMs;
    while ((await isAlive(record)) && Date.now() < deadline) {
      beat();
      await sleep(100);
    }
    if (await isAlive(record)) signalGroup(record.pid, 'SIGKILL');
  }
  const successor = await attach(recordFile);
  if (successor === null || successor.pid === record?.pid) await rm(recordFile, { force: true });
}

/** Signals a process group; a group that is gone is no error. */
export function signalGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** The last lines of a log, for an error message's detail. */
export async function logTail(file: string, lines = 20): Promise<string> {
  const text = await readFile(file, 'utf8').catch(() => '');
  return text.trimEnd().split('\n').slice(-lines).join('\n');
}

/** The record of a process that somebody else started. */
export async function describeProcess(pid: number, command: string[], log: string): Promise<ProcessRecord> {
  return { host: os.hostname(), pid, started: (await startStamp(pid)) ?? 'exited', command, log };
}
