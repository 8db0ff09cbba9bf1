/** What `p2r models pretrain` does: starts the recipe or attaches to it, shows its progress, says how it ended. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import logUpdate from 'log-update';
import { z } from 'zod';
import { PROJECT, PYTHON, PYTHON_ENV } from '../activities/environment.ts';
import { attach, launch, logTail, stop } from '../activities/processes.ts';
import { MODEL_RECORD, readModelRecord } from '../store/model-records.ts';
import { EXIT, UserError } from './errors.ts';
import type { PretrainOptions } from './models-command.ts';
import { ensurePython } from './python-environment.ts';
import { duration, say } from './render.ts';

const run = promisify(execFile);
const print = (line: string) => process.stdout.write(`${line}\n`);

const LOOK_AGAIN_MS = 300;
const GRACE_MS = 10_000;

const Stage = z.string().max(8);
/** A line of the recipe's progress (`report` in recipe.py). */
const Event = z.discriminatedUnion('event', [
  z.object({ event: z.literal('resumed'), stage: Stage, step: z.int() }),
  z.object({ event: z.literal('drawn'), scenes: z.int(), seconds: z.number() }),
  z.object({ event: z.literal('first step'), stage: Stage, seconds: z.number() }),
  z.object({
    event: z.literal('step'),
    stage: Stage,
    step: z.int(),
    of: z.int(),
    loss: z.number(),
    examples_per_second: z.number(),
  }),
  z.object({ event: z.literal('figures'), of: z.string(), questions: z.int(), summary: z.string() }),
  z.object({ event: z.literal('written'), directory: z.string() }),
]);
export type PretrainEvent = z.infer<typeof Event>;

/** A line of the recipe's log as an event, or null when it is something else (a warning, a traceback). */
export function readEvent(line: string): PretrainEvent | null {
  if (!line.startsWith('{')) return null;
  try {
    return Event.safeParse(JSON.parse(line)).data ?? null;
  } catch {
    return null;
  }
}

/** Where a stage stood at an instant (milliseconds), to tell its speed from. */
export type Mark = { stage: string; step: number; at: number };

/** The line that people read, and the mark for the next one. `lasting`: it stays; else the next one takes its place on a terminal. */
export function describe(
  event: PretrainEvent,
  mark: Mark | null,
  now: number,
): { line: string; lasting: boolean; mark: Mark | null } {
  switch (event.event) {
    case 'resumed':
      return {
        line:
          event.stage === 'done'
            ? 'All stages were done before.'
            : `Goes on with stage ${event.stage} at step ${event.step}.`,
        lasting: true,
        mark,
      };
    case 'drawn':
      return {
        line: `${event.scenes.toLocaleString('en')} scenes drawn in ${duration(event.seconds)}.`,
        lasting: true,
        mark,
      };
    case 'first step':
      return {
        line: `Stage ${event.stage}: first step after ${duration(event.seconds)}.`,
        lasting: true,
        mark: null,
      };
    case 'step': {
      const { stage, step, of, loss, examples_per_second: speed } = event;
      const known = mark !== null && mark.stage === stage && step > mark.step && now > mark.at;
      const left = known ? ((of - step) * (now - mark.at)) / (step - mark.step) / 1000 : null;
      const parts = [
        `Stage ${stage}: step ${step.toLocaleString('en')} of ${of.toLocaleString('en')}`,
        `loss ${loss}`,
        `${speed.toLocaleString('en')} examples a second`,
        ...(left === null || step === of ? [] : [`about ${duration(left)} left of this stage`]),
      ];
      const first = mark !== null && mark.stage === stage ? mark : { stage, step, at: now };
      return { line: parts.join(', '), lasting: step === of, mark: first };
    }
    case 'figures':
      return { line: `${event.of}, ${event.questions} questions: ${event.summary}`, lasting: true, mark };
    case 'written':
      return { line: `Written: ${event.directory}`, lasting: true, mark };
  }
}

/** The recipe's command line for these options. */
export function recipeCommand(options: PretrainOptions, out: string): string[] {
  const settings: [string, string | number | undefined][] = [
    ['--size', options.size],
    ['--out', out],
    ['--seed', options.seed],
    ['--scenes', options.scenes],
    ['--habit-scenes', options.habitScenes],
    ['--held-out-scenes', options.heldOutScenes],
    ['--batch', options.batch],
    ['--steps', options.steps],
    ['--habits', options.habits],
    ['--processes', options.processes],
    ['--further', options.further],
    ['--capable', options.capable === undefined ? undefined : path.resolve(options.capable)],
  ];
  const given = settings.flatMap(([name, value]) => (value === undefined ? [] : [name, String(value)]));
  return [PYTHON, '-m', 'p2r_engines.pretraining.recipe', ...given];
}

/** Whether PyTorch sees a GPU. Throws a UserError when it cannot be asked. */
async function hasGpu(): Promise<boolean> {
  const asked = ['-c', 'import torch; print(torch.cuda.is_available())'];
  const { stdout } = await run(PYTHON, asked, { env: { ...process.env, ...PYTHON_ENV } }).catch(
    (error: Error & { stderr?: string }) => {
      throw new UserError(
        `PyTorch could not be loaded: ${error.stderr?.trim().split('\n').at(-1) ?? error.message}`,
        EXIT.failed,
      );
    },
  );
  return stdout.trim() === 'True';
}

/** Runs the recipe to its end. Ctrl-C stops it; a run whose command line was lost is found again. Throws UserErrors. */
export async function pretrain(options: PretrainOptions): Promise<void> {
  await ensurePython(say);
  const out = path.resolve(options.out);
  const recordFile = path.join(out, 'process.json');
  const log = path.join(out, 'pretraining.log');
  if (options.further !== undefined && options.capable === undefined)
    throw new UserError('--further needs --capable: it trains a checkpoint that was made before.');
  const made =
    options.capable === undefined || options.further !== undefined ? ['capable', 'base'] : ['base'];
  if (options.capable !== undefined && (await readModelRecord(path.resolve(options.capable))) === null)
    throw new UserError(
      `--capable ${options.capable} has no ${MODEL_RECORD}: name a capable/ that this command made.`,
    );
  const command = recipeCommand(options, out);
  const running = await attach(recordFile);
  if (running !== null && running.command.join(' ') !== command.join(' '))
    throw new UserError(
      `A run with other settings goes on in ${out} (process ${running.pid}): name another --out, or end it first.`,
    );
  const from = (await stat(log).catch(() => null))?.size ?? 0;
  if (running === null) {
    if (!options.cpu && !(await hasGpu()))
      throw new UserError(
        `No GPU was found. Making the ${options.size} model takes one data-centre GPU: run this on such a machine. ` +
          'With --cpu it runs here, which is meant for --size test or for very few --steps: the whole recipe would take days.',
        EXIT.unavailable,
      );
    const env = { ...PYTHON_ENV, ...(options.cpu ? { CUDA_VISIBLE_DEVICES: '' } : {}) };
    await launch(recordFile, { command, env, cwd: PROJECT, log });
  } else {
    say(`Attached to the run that goes on in ${out} (process ${running.pid}).`);
    const last = readEvent(await logTail(log, 1));
    if (last !== null) say(describe(last, null, Date.now()).line);
  }

  const abort = new AbortController();
  const interrupt = () => abort.abort();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, interrupt);
  try {
    await followLog(log, from, async () => (await attach(recordFile)) !== null, show, abort.signal);
  } finally {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.off(signal, interrupt);
    if (process.stderr.isTTY) logUpdate.done();
  }
  if (abort.signal.aborted) {
    await stop(recordFile, GRACE_MS);
    say(
      'Stopped. What was learnt up to the last save, about a minute back at most, is kept: the same command goes on.',
    );
    process.exitCode = EXIT.interrupted;
    return;
  }
  await stop(recordFile, 0);
  const missing = made.filter((name) => !existsSync(path.join(out, name, MODEL_RECORD)));
  if (missing.length > 0)
    throw new UserError(
      `The recipe ended before it was done: ${(await logTail(log, 1)) || 'it said nothing'} (all it said: ${log})`,
      EXIT.failed,
    );
  if (options.json) {
    const records = await Promise.all(
      made.map(async (name) => [name, await readModelRecord(path.join(out, name))]),
    );
    print(JSON.stringify({ directory: out, models: Object.fromEntries(records) }, null, 2));
  } else for (const name of made) print(path.join(out, name));
}

/** Tells what is appended to a log, from byte `from`, until its writer has ended and all is told, or until `signal`. */
export async function followLog(
  log: string,
  from: number,
  goesOn: () => Promise<boolean>,
  tell: (line: string, lasting: boolean) => void,
  signal: AbortSignal,
): Promise<void> {
  let mark: Mark | null = null;
  let rest = '';
  let at = from;
  for (let ended = false; !signal.aborted; ) {
    ended = !(await goesOn());
    const chunk = await readFrom(log, at);
    at += chunk.length;
    const lines = (rest + chunk.toString('utf8')).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      const event = readEvent(line);
      if (event === null) continue;
      const told = describe(event, mark, Date.now());
      mark = told.mark;
      tell(told.line, told.lasting);
    }
    if (ended) return;
    await sleep(LOOK_AGAIN_MS, undefined, { signal }).catch(() => undefined);
  }
}

async function readFrom(file: string, offset: number): Promise<Buffer> {
  const handle = await open(file, 'r').catch(() => null);
  if (handle === null) return Buffer.alloc(0);
  try {
    const { size } = await handle.stat();
    const buffer = Buffer.alloc(Math.max(0, size - offset));
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, offset);
    return buffer.subarray(0, bytesRead);
  } finally {
    await handle.close();
  }
}

function show(line: string, lasting: boolean): void {
  if (!process.stderr.isTTY) say(line);
  else if (lasting) {
    logUpdate.clear();
    say(line);
  } else logUpdate(line);
}
