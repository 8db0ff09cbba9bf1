/** `p2r results`: which of the paper's claims the stored runs of the tiny twins show. */
import { cpus } from 'node:os';
import path from 'node:path';
import Table from 'cli-table3';
import type { Command } from 'commander';
import { writeFileAtomic } from '../store/files.ts';
import type { Store } from '../store/layout.ts';
import { collectResults, type StudyResult } from './results.ts';
import { resultsPage } from './results-page.ts';

/** Adds the command. `print` takes lines for stdout. */
export function addResultsCommand(program: Command, store: Store, print: (line: string) => void): void {
  program
    .command('results')
    .option('--write <file>', 'write the page of all claims, checks and figures (Markdown)')
    .option('--json', 'print JSON')
    .description('say which of the paper’s claims the stored runs of the tiny twins show')
    .addHelpText('after', '\nExample:\n  p2r results --write docs/results.md')
    .action(async (options: { write?: string; json?: boolean }) => {
      const results = await collectResults(store);
      if (options.write !== undefined) {
        const machine = `${cpus().length} x ${cpus()[0]?.model.trim() ?? 'unknown processor'}`;
        const made = `Made on ${new Date().toISOString().slice(0, 10)} (${machine}).`;
        await writeFileAtomic(path.resolve(options.write), resultsPage(results, made));
      }
      print(options.json ? JSON.stringify(results, null, 2) : overview(results));
    });
}

function overview(results: StudyResult[]): string {
  const table = new Table({
    head: ['paper', 'tiny twin', 'seeds', 'claim', 'checks that hold'],
    style: { head: [], border: [] },
  });
  for (const { item, twin, seeds, verdict, checks } of results) {
    const holding = checks.filter((check) => check.verdict === 'holds').length;
    table.push([item ?? '', twin, seeds.join(', '), verdict, `${holding} of ${checks.length}`]);
  }
  return table.toString();
}
