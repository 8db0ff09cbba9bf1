/** `p2r report`: tables and figures out of stored predictions. */
import { type Command, Option } from 'commander';
import { GROUNDING_PROTOCOLS, type GroundingProtocol } from '../benchmarks/scoring.ts';
import type { Store } from '../store/layout.ts';

/** What `p2r report` was asked for. */
export type ReportOptions = {
  tables: string;
  format: 'markdown' | 'json' | 'csv' | 'latex';
  extractor: string;
  grounding: GroundingProtocol;
  figure?: string;
};

/** Adds the commands to the program. */
export function addReportCommand(program: Command, store: Store): void {
  program
    .command('report')
    .argument('[evaluations...]', 'names of evaluations (default: all)')
    .option('--tables <names>', 'table-1 to table-5, figure-11, figure-12, all; with commas between', 'all')
    .addOption(
      new Option('--format <format>').choices(['markdown', 'json', 'csv', 'latex']).default('markdown'),
    )
    .option('--extractor <name>', 'how answers are read', 'p2r@1')
    .addOption(new Option('--grounding <protocol>').choices(GROUNDING_PROTOCOLS).default('union'))
    .option('--figure <file.svg>', 'also draw accuracy against throughput (Figure 11)')
    .description("rebuild the paper's tables, published numbers beside ours; asks no model")
    .addHelpText('after', '\nExample:\n  p2r report --tables table-1,table-5 --format latex')
    .action(async (names: string[], options: ReportOptions) =>
      (await import('./report.ts')).report(store, names, options),
    );
  program
    .command('compare')
    .argument('<pairs...>', 'EVALUATION:STRATEGY twice, and so on for further benchmarks')
    .option('--extractor <name>', 'how answers are read', 'p2r@1')
    .option('--json', 'print JSON')
    .description('test whether runs differ on the questions that both answered; Holm over several pairs')
    .addHelpText(
      'after',
      '\nExamples:\n  p2r compare base:p2r trained:p2r\n  p2r compare base-v-star:p2r trained-v-star:p2r base-hr:p2r trained-hr:p2r',
    )
    .action(async (pairs: string[], options: { extractor: string; json?: boolean }) =>
      (await import('./report.ts')).compare(store, pairs, options),
    );
  program
    .command('audit')
    .argument('<evaluation>')
    .option('--extractor <name>', 'the one that others are compared with', 'p2r@1')
    .option('--json', 'print JSON')
    .description(
      'what other extractors read, letters preferred, where errors come from, what can be detected',
    )
    .addHelpText('after', '\nExample:\n  p2r audit eval-base')
    .action(async (evaluation: string, options: { extractor: string; json?: boolean }) =>
      (await import('./report.ts')).audit(store, evaluation, options),
    );
}
