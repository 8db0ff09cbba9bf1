/** Needle scenes on disk, drawn by the Python generator once for each plan. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import type { Store } from '../store/layout.ts';
import { manifestFault, setAside, writeManifest } from '../store/manifest.ts';
import { readSamples } from '../store/samples.ts';
import type { ScenesPlan } from '../workflows/types.ts';
import { PROJECT, PYTHON, PYTHON_ENV } from './environment.ts';

const run = promisify(execFile);

/** Scenes that could not be drawn; the message has the generator's last words. */
export class ScenesFailed extends Error {
  override readonly name = 'ScenesFailed';
}

/** Draws a planned dataset; whoever is first wins when two draw it at once. Throws {@link ScenesFailed}. */
export async function drawScenes(store: Store, scenes: ScenesPlan): Promise<void> {
  const directory = store.scenes(scenes.key);
  await mkdir(path.dirname(directory), { recursive: true });
  const { split, count, questions, seed } = scenes;
  const args = { out: directory, split, count, seed, questions, kinds: scenes.kinds.join(',') };
  const flags = Object.entries(args).flatMap(([name, value]) => [`--${name}`, String(value)]);
  await run(PYTHON, ['-m', 'p2r_engines.needle_scenes', ...flags], {
    cwd: PROJECT,
    env: { ...process.env, ...PYTHON_ENV },
  }).catch((error: Error & { stderr?: string }) => {
    if (existsSync(path.join(directory, 'rows.jsonl'))) return;
    const words = error.stderr?.trim().split('\n').at(-1) ?? error.message;
    throw new ScenesFailed(`The needle scenes could not be written to ${directory}: ${words}`);
  });
  await writeManifest(directory);
}

/** Whether a directory of scenes is there and whole. A damaged one is set aside, and `tell` is told why. */
export async function scenesAreThere(
  directory: string,
  tell: (fault: string, aside: string | null) => Promise<void>,
): Promise<boolean> {
  if (!existsSync(directory)) return false;
  const fault = await scenesFault(directory);
  if (fault === null) return true;
  await tell(fault, await setAside(directory).catch(() => null));
  return false;
}

/** Why a scenes directory may not be used; null when it may. One without a manifest gets it if its rows can be read. */
async function scenesFault(directory: string): Promise<string | null> {
  const fault = await manifestFault(directory);
  if (fault !== undefined) return fault;
  try {
    await readSamples(directory);
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
  await writeManifest(directory);
  return null;
}
