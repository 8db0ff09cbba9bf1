/** What `p2r datasets` does. */
import path from 'node:path';
import { fingerprintBenchmark, fingerprintPage } from '../benchmarks/fingerprint.ts';
import { CATALOGUE } from '../benchmarks/hub/catalogue.ts';
import { downloadDataset, HubError } from '../benchmarks/hub/download.ts';
import { type Benchmark, BenchmarkError } from '../benchmarks/item.ts';
import { PAPER_MIXTURE, writeMixture } from '../benchmarks/mixture.ts';
import { FORMATS, openBenchmark } from '../benchmarks/open.ts';
import { contaminated, hashImage, type ImageHashes } from '../benchmarks/statistics/contamination.ts';
import type { Store } from '../store/layout.ts';
import { EXIT, UserError } from './errors.ts';
import { readerTools } from './eval-benchmark.ts';
import { say } from './render.ts';

const print = (line: string) => process.stdout.write(`${line}\n`);

/** Runs with the errors of files and the hub as sentences. */
async function mended<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof BenchmarkError) throw new UserError(error.message);
    if (error instanceof HubError) throw new UserError(error.message, EXIT.failed);
    throw error;
  }
}

async function opened(store: Store, reference: string): Promise<Benchmark> {
  return openBenchmark(reference, await readerTools(store, reference));
}

/** Prints formats and datasets. */
export function listFormats(): void {
  print('Formats (FORMAT:PATH):');
  for (const { name, what, training } of FORMATS)
    print(`  ${name.padEnd(22)} ${what}${training ? ' (training)' : ''}`);
  print('\nDatasets of the hub (p2r datasets fetch NAME):');
  for (const { name, repository, licence } of CATALOGUE)
    print(`  ${name.padEnd(22)} ${repository.padEnd(44)} ${licence}`);
}

/** Downloads one dataset. */
export async function fetchDataset(
  store: Store,
  name: string,
  options: { revision: string; folder?: string },
): Promise<void> {
  const dataset = CATALOGUE.find((candidate) => candidate.name === name);
  if (dataset === undefined)
    throw new UserError(
      `The dataset "${name}" is not known; there are: ${CATALOGUE.map((known) => known.name).join(', ')}.`,
    );
  const folder = path.resolve(options.folder ?? path.join(store.home, 'downloads', name));
  const token = process.env.HF_TOKEN;
  say(`${dataset.repository}: ${dataset.licence}`);
  const record = await mended(() =>
    downloadDataset({
      endpoint: process.env.HF_ENDPOINT ?? 'https://huggingface.co',
      repository: dataset.repository,
      revision: options.revision,
      files: dataset.files,
      folder,
      ...(token === undefined ? {} : { token }),
      onFile: (file, done, of) => {
        if (done % 100 === 0 || of <= 20 || done === of) say(`${done}/${of} ${file}`);
      },
    }),
  );
  print(`${record.files.length} files of ${record.repository} at ${record.revision} are in ${folder}.`);
  print(`Use: ${dataset.format.replace('FOLDER', folder)}`);
}

/** Prints the fingerprint page. */
export async function printFingerprint(store: Store, reference: string, json: boolean): Promise<void> {
  const page = await mended(async () => fingerprintBenchmark(await opened(store, reference)));
  print(json ? JSON.stringify(page, null, 2) : fingerprintPage(page));
  if (page.published !== null && page.published !== page.count) process.exitCode = EXIT.failed;
}

/** Writes the paper's mixture. */
export async function mix(
  store: Store,
  folder: string,
  options: { deepeyes: string; visualProbe: string; zwz: string; seed: number },
): Promise<void> {
  const rows = await mended(async () =>
    writeMixture(
      path.resolve(folder),
      [
        { source: await opened(store, options.deepeyes), count: PAPER_MIXTURE.deepeyes },
        { source: await opened(store, options.visualProbe), count: PAPER_MIXTURE['visual-probe'] },
        { source: await opened(store, options.zwz), count: PAPER_MIXTURE.zwz },
      ],
      options.seed,
    ),
  );
  print(`${rows} questions are in ${path.resolve(folder)}.`);
}

async function hashes(benchmark: Benchmark): Promise<ImageHashes[]> {
  const seen = new Set<string>();
  const found: ImageHashes[] = [];
  for await (const { id, image } of benchmark.items()) {
    if (seen.has(image.key)) continue;
    seen.add(image.key);
    found.push(await hashImage(id, await image.read()));
  }
  return found;
}

/** Prints the evaluation images that are among the training images; exit code 1 when there are some. */
export async function checkContamination(
  store: Store,
  evaluation: string,
  training: string,
  options: { within: number; json?: boolean },
): Promise<void> {
  const found = await mended(async () => {
    const [tested, trained] = [
      await hashes(await opened(store, evaluation)),
      await hashes(await opened(store, training)),
    ];
    return { images: tested.length, hits: contaminated(tested, trained, options.within) };
  });
  if (options.json) print(JSON.stringify(found, null, 2));
  else {
    for (const hit of found.hits)
      print(`${hit.evaluation}  ${hit.training}  ${hit.kind}, ${hit.distance} bits differ`);
    print(`${found.hits.length} of ${found.images} evaluation images are among the training images.`);
  }
  if (found.hits.length > 0) process.exitCode = EXIT.failed;
}
