/** `p2r models`: the project's own models, whether they are whole, and how they are made. */
import { type Command, InvalidArgumentError, Option } from 'commander';

const whole = (least: number) => (text: string) => {
  const value = Number(text);
  if (!Number.isInteger(value) || value < least)
    throw new InvalidArgumentError(`it must be a whole number of at least ${least}.`);
  return value;
};

const listed = (of: string, pattern: RegExp) => (text: string) => {
  if (!pattern.test(text)) throw new InvalidArgumentError(`it must be ${of}, with commas between.`);
  return text;
};

/** What `p2r models pretrain` was asked for; absent settings are the recipe's. */
export type PretrainOptions = {
  size: 'small' | 'middle' | 'large' | 'test';
  out: string;
  seed: number;
  scenes?: number;
  habitScenes?: number;
  heldOutScenes?: number;
  batch?: number;
  steps?: string;
  habits?: string;
  further?: number;
  processes?: number;
  capable?: string;
  cpu?: boolean;
  json?: boolean;
};

/** Adds the commands to the program. */
export function addModelsCommand(program: Command): void {
  const models = program.command('models').description('the tiny models: list, verify, make');
  models
    .command('ls')
    .argument('[folder]', 'folder of model directories (default: the project’s models/)')
    .option('--json', 'print JSON')
    .description('list the models with their size, held-out figures, licence and the state of their files')
    .addHelpText('after', '\nExample:\n  p2r models ls')
    .action(async (folder: string | undefined, options: { json?: boolean }) =>
      (await import('./models.ts')).listModels(folder, options),
    );
  models
    .command('verify')
    .argument('[models...]', 'names below models/, or directories (default: all of models/)')
    .option('--json', 'print JSON')
    .description('check every file against the sha256 that the recipe recorded')
    .addHelpText(
      'after',
      '\nExit code 1 when a file is not what it was.\n\nExample:\n  p2r models verify tiny',
    )
    .action(async (names: string[], options: { json?: boolean }) =>
      (await import('./models.ts')).verifyModels(names, options),
    );
  models
    .command('pretrain')
    .addOption(
      new Option('--size <size>', 'about 2, 6 and 16 million parameters; test: to try the command')
        .choices(['small', 'middle', 'large', 'test'])
        .makeOptionMandatory(),
    )
    .requiredOption('--out <dir>', 'where capable/ and base/ are written; an interrupted run goes on there')
    .option('--seed <n>', 'of weights, scenes and order', whole(0), 1)
    .option('--scenes <n>', 'of stages A and B', whole(1))
    .option('--habit-scenes <n>', 'of stage C', whole(1))
    .option('--held-out-scenes <n>', 'that the figures are about', whole(1))
    .option('--batch <n>', 'questions a step', whole(1))
    .option('--steps <a,b,c>', 'of each stage', listed('three whole numbers', /^\d+,\d+,\d+$/))
    .option(
      '--habits <p,p,p,p,r,s>',
      'chances of loose boxes, missing boxes, (A) among two and among four options; reach of a loose box; strength of all',
      listed(
        'four numbers from 0 to 1, a number, and another from 0 to 1',
        /^(?:(?:0|1|0?\.\d+|1\.0+),){4}\d*\.?\d+,(?:0|1|0?\.\d+|1\.0+)$/,
      ),
    )
    .option('--processes <n>', 'that draw scenes', whole(1))
    .option('--capable <dir>', 'a capable checkpoint made before: only stage C, which gives it habits')
    .option('--further <n>', 'steps of stage B on other scenes before it; with --capable', whole(1))
    .option('--cpu', 'run on the CPU')
    .option('--json', 'print the records of what was made as JSON')
    .description('make a capable model and a base from nothing')
    .addHelpText(
      'after',
      `
It takes one data-centre GPU and the cores beside it; --cpu is for --size test, and for other sizes only with far fewer steps.
Ctrl-C stops it; the same command goes on from its last save, at most about a minute back.

Examples:
  p2r models pretrain --size middle --out pretrained/middle
  p2r models pretrain --size test --cpu --out /tmp/test-model --scenes 8 --habit-scenes 4 --held-out-scenes 4 --batch 8 --steps 4,4,2`,
    )
    .action(async (options: PretrainOptions) => (await import('./pretrain.ts')).pretrain(options));
}
