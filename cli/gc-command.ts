/** `p2r gc`: delete what no experiment needs. */
import path from 'node:path';
import type { Command } from 'commander';
import { attach } from '../activities/processes.ts';
import { deleteGarbage, findGarbage } from '../store/garbage.ts';
import { listAttempts } from '../store/metrics.ts';
import type { CommandContext } from './decision-commands.ts';
import { UserError } from './errors.ts';

/** Adds the command to the program. */
export function addGcCommand(program: Command, { store, print, printJson }: CommandContext): void {
  const hasTrainer = async (key: string) => {
    const last = (await listAttempts(store, key)).at(-1);
    return last !== undefined && (await attach(path.join(store.attempt(key, last), 'process.json'))) !== null;
  };
  program
    .command('gc')
    .option('--dry-run', 'only list it')
    .option('--keep <n>', 'newest checkpoints of each phase that stay', '2')
    .option('--json', 'print JSON')
    .description('delete phases, evaluations and checkpoints that no experiment needs')
    .addHelpText('after', '\nExample:\n  p2r gc --dry-run')
    .action(async (options: { dryRun?: boolean; keep: string; json?: boolean }) => {
      const keep = Number(options.keep);
      if (!Number.isInteger(keep) || keep < 1)
        throw new UserError(`--keep must be a whole number of at least 1, not "${options.keep}".`);
      const found = await findGarbage(store, keep, hasTrainer);
      if (!options.dryRun) await deleteGarbage(found);
      const bytes = found.reduce((sum, item) => sum + item.bytes, 0);
      if (options.json) {
        printJson({ deleted: !options.dryRun, bytes, items: found });
        return;
      }
      for (const item of found) print(`${path.relative(store.home, item.directory)}  ${item.why}`);
      const size = `${(bytes / 1e6).toFixed(0)} MB in ${found.length} places`;
      print(options.dryRun ? `${size} could be freed.` : `${size} freed.`);
    });
}
