/** `p2r datasets`: downloads, fingerprints, the training mixture and the contamination check. */
import { type Command, InvalidArgumentError } from 'commander';
import type { Store } from '../store/layout.ts';

const whole = (text: string) => {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0) throw new InvalidArgumentError('it must be a whole number.');
  return value;
};

/** Adds the commands to the program. */
export function addDatasetsCommand(program: Command, store: Store): void {
  const datasets = program.command('datasets').description('benchmarks and training sets');
  datasets
    .command('formats')
    .description('list the formats that --benchmark takes, and the datasets that can be fetched')
    .action(async () => (await import('./datasets.ts')).listFormats());
  datasets
    .command('fetch')
    .argument('<name>', 'a dataset of "p2r datasets formats"')
    .option('--revision <revision>', 'branch, tag or commit', 'main')
    .option('--folder <folder>', 'where to (default: below the home)')
    .description('download a dataset from the Hugging Face hub: pinned, checked, resumable')
    .addHelpText(
      'after',
      '\nHF_ENDPOINT names a mirror, HF_TOKEN a token for closed datasets.\n\nExample:\n  p2r datasets fetch v-star',
    )
    .action(async (name: string, options: { revision: string; folder?: string }) =>
      (await import('./datasets.ts')).fetchDataset(store, name, options),
    );
  datasets
    .command('fingerprint')
    .argument('<format:path>')
    .option('--json', 'print JSON')
    .description('say what a file holds: counts, sizes, answers, a checksum, the first question')
    .addHelpText('after', '\nExample:\n  p2r datasets fingerprint hr-bench:hr_bench_8k.tsv')
    .action(async (reference: string, options: { json?: boolean }) =>
      (await import('./datasets.ts')).printFingerprint(store, reference, options.json === true),
    );
  datasets
    .command('mix')
    .argument('<folder>', 'where the dataset is written')
    .requiredOption('--deepeyes <format:path>', '3,000 of its questions are drawn')
    .requiredOption('--visual-probe <format:path>', '3,000 of its questions are drawn')
    .requiredOption('--zwz <format:path>', '4,000 of its questions are drawn')
    .option('--seed <n>', 'decides which', whole, 0)
    .description("draw the paper's training mixture of 10,000 questions")
    .addHelpText(
      'after',
      '\nExample:\n  p2r datasets mix p2r-10k --deepeyes deepeyes-4k:a/train.json --visual-probe visual-probe-train:b/train.json --zwz zwz-mini:c/train_crop_clean.csv',
    )
    .action(
      async (folder: string, options: { deepeyes: string; visualProbe: string; zwz: string; seed: number }) =>
        (await import('./datasets.ts')).mix(store, folder, options),
    );
  datasets
    .command('contamination')
    .argument('<evaluation>', 'format:path of a benchmark')
    .argument('<training>', 'format:path of a training set')
    .option('--within <bits>', 'bits of 64 by which two pictures may differ', whole, 4)
    .option('--json', 'print JSON')
    .description('look for evaluation images among the training images')
    .addHelpText('after', '\nExample:\n  p2r datasets contamination v-star:vstar_bench needle:p2r-10k')
    .action(async (evaluation: string, training: string, options: { within: number; json?: boolean }) =>
      (await import('./datasets.ts')).checkContamination(store, evaluation, training, options),
    );
}
