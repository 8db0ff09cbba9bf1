import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import path from 'node:path';
import sharp from 'sharp';
import { z } from 'zod';
import type { Box } from '../../method/boxes.ts';
import { decodeImage, IMAGE_RULES, prepareEvidence } from '../../method/images.ts';
import { seededRandom, writeScene } from './scenes.ts';

const RULES = IMAGE_RULES.paper;
const ROLLOUTS = 8;
const REFERENCE = path.join(import.meta.dirname, 'pillow_reference.py');

/** One size of image: how fast each implementation is, and how far their pixels agree. */
export type ImageComparison = {
  name: string;
  width: number;
  height: number;
  /** Images a second, each with 8 rollouts: best round. */
  method: number;
  pillow: number;
  pillowTwoThreads: number;
  /** Seconds of processor time an image, all threads together. */
  methodCpu: number;
  pillowCpu: number;
  /** Decibels between the two implementations' JPEGs, mean over the first image's rollouts; infinite where they are equal. */
  annotatedPsnr: number;
  cropPsnr: number[];
};

/**
 * Times the reward-side path (decode, annotate, three crops, resize to budget, JPEG) for 8 rollouts an image, each with boxes of its
 * own, against `pillow_reference.py`. The two take turns, and each is given its best round, so that a busy machine harms neither.
 *
 * @param python interpreter with Pillow
 */
export async function compareImages(
  name: string,
  width: number,
  height: number,
  python: string,
  rounds: number,
): Promise<ImageComparison> {
  const folder = await mkdtemp(path.join(tmpdir(), 'p2r-bench-'));
  try {
    const file = path.join(folder, `${name}.jpg`);
    await writeScene(file, width, height, 1);
    const bytes = await readFile(file);
    const rollouts = rolloutBoxes(width, height);
    // As many images at once as there are cores, as the reward service does.
    const images = Math.max(2, availableParallelism());
    const one = async () => {
      const decoded = await decodeImage(bytes, RULES);
      return Promise.all(rollouts.map((boxes) => prepareEvidence(decoded, boxes, RULES)));
    };
    const evidence = await one();
    const best = {
      method: 0,
      pillow: 0,
      pillowTwoThreads: 0,
      methodCpu: Number.POSITIVE_INFINITY,
      pillowCpu: Number.POSITIVE_INFINITY,
    };
    for (let round = 0; round < rounds; round++) {
      const cpu = process.cpuUsage();
      const start = performance.now();
      await Promise.all(Array.from({ length: images }, one));
      const seconds = (performance.now() - start) / 1000;
      const { user, system } = process.cpuUsage(cpu);
      best.method = Math.max(best.method, images / seconds);
      best.methodCpu = Math.min(best.methodCpu, (user + system) / 1e6 / images);
      const single = await pillow(python, file, rollouts, 1, folder);
      best.pillow = Math.max(best.pillow, 1 / single.seconds);
      best.pillowCpu = Math.min(best.pillowCpu, single.cpu_seconds);
      best.pillowTwoThreads = Math.max(
        best.pillowTwoThreads,
        1 / (await pillow(python, file, rollouts, 2, folder)).seconds,
      );
    }
    const psnrs = await Promise.all(
      evidence.map(async ({ annotated, crops }, rollout) =>
        Promise.all(
          [annotated, ...crops].map(async (ours, part) =>
            psnr(ours, await readFile(path.join(folder, `${rollout}-${part}.jpg`))),
          ),
        ),
      ),
    );
    const [annotatedPsnr = Number.NaN, ...cropPsnr] = [0, 1, 2, 3].map((part) =>
      mean(psnrs.map((parts) => parts[part] ?? Number.NaN)),
    );
    return { name, width, height, ...best, annotatedPsnr, cropPsnr };
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** Three boxes a rollout, 2 to 8 % of each side. */
function rolloutBoxes(width: number, height: number): Box[][] {
  const random = seededRandom(7);
  return Array.from({ length: ROLLOUTS }, () =>
    Array.from({ length: 3 }, () => {
      const [x1, y1] = [random() * 0.9 * width, random() * 0.9 * height];
      return {
        x1,
        y1,
        x2: x1 + (0.02 + random() * 0.06) * width,
        y2: y1 + (0.02 + random() * 0.06) * height,
        label: 'object',
      };
    }),
  );
}

const Timing = z.strictObject({ seconds: z.number().positive(), cpu_seconds: z.number().positive() });

/** Runs the reference on all rollouts of one image; its files go to `folder`. */
async function pillow(
  python: string,
  file: string,
  rollouts: Box[][],
  threads: number,
  folder: string,
): Promise<z.infer<typeof Timing>> {
  const job = {
    path: file,
    rollouts: rollouts.map((boxes) => boxes.map(({ x1, y1, x2, y2 }) => [x1, y1, x2, y2])),
    rules: RULES,
    threads,
    out: folder,
  };
  const output = await new Promise<string>((resolve, reject) => {
    const child = execFile(python, [REFERENCE], (error, stdout) =>
      error === null ? resolve(stdout) : reject(error),
    );
    child.stdin?.end(JSON.stringify(job));
  });
  return Timing.parse(JSON.parse(output));
}

/** Peak signal-to-noise ratio of two encoded images of one size, in decibels. */
async function psnr(a: Buffer, b: Buffer): Promise<number> {
  const [one, two] = await Promise.all(
    [a, b].map((bytes) => sharp(bytes).raw().toBuffer({ resolveWithObject: true })),
  );
  if (
    one === undefined ||
    two === undefined ||
    one.info.width !== two.info.width ||
    one.info.height !== two.info.height
  ) {
    throw new Error('The two implementations gave images of different sizes.');
  }
  let squares = 0;
  for (const [i, value] of one.data.entries()) squares += (value - (two.data[i] ?? 0)) ** 2;
  return 10 * Math.log10(255 ** 2 / (squares / one.data.length));
}

function mean(values: number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
