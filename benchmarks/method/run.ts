import { availableParallelism, cpus } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { compareImages } from './images.ts';
import { fuzzParser, timeHostileTexts } from './parsing.ts';

const { values } = parseArgs({
  options: {
    cases: { type: 'string', default: '1000000' },
    rounds: { type: 'string', default: '5' },
    python: { type: 'string', default: path.join(import.meta.dirname, '../../.venv/bin/python') },
    only: { type: 'string' },
  },
});

const decibels = (value: number) => (Number.isFinite(value) ? `${value.toFixed(1)} dB` : 'equal');
let kept = true;
/** Prints one target and whether it was met. */
const target = (text: string, met: boolean) => {
  kept &&= met;
  console.log(`  ${met ? 'met' : 'MISSED'}: ${text}`);
};

console.log(
  `Node ${process.version}, ${availableParallelism()} x ${cpus()[0]?.model ?? 'unknown processor'}`,
);

if (values.only !== 'parsing') {
  for (const [name, width, height, factor] of [
    ['4K', 3840, 2160, 4],
    ['8K', 7680, 4320, 6],
  ] as const) {
    const result = await compareImages(name, width, height, values.python, Number(values.rounds));
    const faster = result.method / result.pillow;
    console.log(
      `\n${name} JPEG (${width} x ${height}), 8 rollouts of 3 boxes an image: decode, annotate, 3 crops, resize, JPEG`,
    );
    console.log(
      `  method             ${result.method.toFixed(2)} images/s   ${result.methodCpu.toFixed(2)} s of processor time an image`,
    );
    console.log(
      `  Pillow, 1 thread   ${result.pillow.toFixed(2)} images/s   ${result.pillowCpu.toFixed(2)} s of processor time an image`,
    );
    console.log(`  Pillow, 2 threads  ${result.pillowTwoThreads.toFixed(2)} images/s`);
    console.log(
      `  agreement (PSNR of the JPEGs): annotated ${decibels(result.annotatedPsnr)}, crops ${result.cropPsnr.map(decibels).join(', ')}`,
    );
    console.log(
      `  ${(result.method / result.pillowTwoThreads).toFixed(1)} times Pillow on 2 threads, ${(result.pillowCpu / result.methodCpu).toFixed(1)} times less processor time`,
    );
    target(`${faster.toFixed(1)} times Pillow, at least ${factor}`, faster >= factor);
  }
}

if (values.only !== 'images') {
  console.log('\nParsing 1 MB of hostile text');
  const times = timeHostileTexts();
  for (const { name, first, best } of times) {
    console.log(
      `  ${name.padEnd(20)} ${best.toFixed(1).padStart(5)} ms   (first time ${first.toFixed(1)} ms)`,
    );
  }
  const worst = Math.max(...times.map(({ best }) => best));
  target(`at most ${worst.toFixed(1)} ms, under 50`, worst < 50);

  const cases = Number(values.cases);
  const { seconds, slowest } = fuzzParser(cases, 1);
  console.log(`\nParsing ${cases} random texts: ${seconds.toFixed(0)} s, slowest ${slowest.toFixed(1)} ms`);
  target('none throws or hangs', true);
}
process.exitCode = kept ? 0 : 1;
