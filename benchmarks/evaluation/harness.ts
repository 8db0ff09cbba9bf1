/** `p2r eval` as a child process against the stand-in, watched from outside. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { z } from 'zod';

const ROOT = path.resolve(import.meta.dirname, '../..');

const Stats = z.object({
  first_request: z.number(),
  last_reply: z.number(),
  requests: z.number(),
  replies: z.number(),
  faults: z.number(),
  slot_milliseconds: z.number(),
  bytes: z.number(),
});

/** What the stand-in is like. */
export type StandIn = { slots: number; latency: number; faults: number };

async function standIn({ slots, latency, faults }: StandIn): Promise<{ child: ChildProcess; url: string }> {
  const child = spawn(
    process.execPath,
    [
      path.join(import.meta.dirname, 'stand-in.ts'),
      ...['--slots', String(slots), '--latency', String(latency), '--faults', String(faults)],
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const [line] = await once(createInterface({ input: child.stdout }), 'line');
  return { child, url: z.object({ url: z.string() }).parse(JSON.parse(String(line))).url };
}

/** Peak resident memory in MiB of what a live launcher started, or 0 where the system does not tell. */
async function peakMebibytes(launcher: number): Promise<number> {
  const text = (file: string) => readFile(`/proc/${file}`, 'utf8').catch(() => '');
  const [child] = (await text(`${launcher}/task/${launcher}/children`)).split(' ');
  const status = child === undefined || child === '' ? '' : await text(`${child}/status`);
  return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1] ?? 0) / 1024;
}

/**
 * Runs P2R over a benchmark with as many requests at once as there are slots.
 * @returns exit code, the stand-in's counts, peak memory in MiB, milliseconds from start to first request, and the printed summary
 */
export async function evaluate(benchmark: string, server: StandIn, timeout: number) {
  const { child: model, url } = await standIn(server);
  const home = await mkdtemp(path.join(os.tmpdir(), 'p2r-bench-home-'));
  try {
    const began = Date.now();
    const child = spawn(
      process.execPath,
      [
        path.join(ROOT, 'cli/bin/p2r.mjs'),
        ...['eval', '--benchmark', benchmark, '--strategies', 'p2r', '--json'],
        ...['--base-url', `${url}/v1`, '--model', 'stand-in', '--concurrency', String(server.slots)],
        ...['--prompt-set', 'authors-evaluation', '--image-rules', 'paper', '--timeout', String(timeout)],
      ],
      { env: { ...process.env, P2R_HOME: home }, stdio: ['ignore', 'pipe', 'inherit'] },
    );
    let peak = 0;
    const timer = setInterval(async () => {
      peak = Math.max(peak, await peakMebibytes(child.pid ?? 0));
    }, 250);
    const output: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => output.push(chunk));
    const [code] = await once(child, 'close');
    clearInterval(timer);
    const stats = Stats.parse(await (await fetch(`${url}/stats`)).json());
    const summary = z
      .object({ summaries: z.array(z.unknown()), missing: z.array(z.unknown()) })
      .parse(JSON.parse(Buffer.concat(output).toString('utf8')));
    return { code: Number(code), stats, peak, summary, firstRequest: stats.first_request - began };
  } finally {
    model.kill();
    await rm(home, { recursive: true, force: true });
  }
}
