/** `p2r eval`: its options. The work is in evaluate.ts, loaded only when it is asked for. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { GROUNDING_PROTOCOLS, type GroundingProtocol } from '../benchmarks/scoring.ts';
import type { Store } from '../store/layout.ts';

const whole = (least: number) => (text: string) => {
  const value = Number(text);
  if (!Number.isInteger(value) || value < least)
    throw new InvalidArgumentError(`it must be a whole number of at least ${least}.`);
  return value;
};

const number = (least: number) => (text: string) => {
  const value = Number(text);
  if (!Number.isFinite(value) || value < least)
    throw new InvalidArgumentError(`it must be a number of at least ${least}.`);
  return value;
};

/** What `p2r eval` was asked for; absent options have the benchmark's defaults. */
export type EvalOptions = {
  benchmark: string;
  questions: number;
  split: 'held-out' | 'hard';
  limit?: number;
  shuffleOptions?: number;
  dryRun?: boolean;
  strategies: string;
  baseUrl?: string;
  model?: string;
  checkpoint?: string;
  perceiverBaseUrl?: string;
  perceiverModel?: string;
  perceiverCheckpoint?: string;
  fingerprint?: string;
  perceiverFingerprint?: string;
  label?: string;
  perceiverLabel?: string;
  name?: string;
  promptSet?: string;
  imageRules?: string;
  extractor: string;
  grounding: GroundingProtocol;
  maxTokens?: number;
  perceiverMaxTokens?: number;
  temperature: number;
  repetitionPenalty?: number;
  repeats: number;
  concurrency: number;
  timeout: number;
  retries: number;
  threads: number;
  judgeBaseUrl?: string;
  judgeModel?: string;
  json?: boolean;
};

/** Adds the command to the program. */
export function addEvalCommand(program: Command, store: Store): void {
  program
    .command('eval')
    .description('ask a model the questions of a benchmark by one or more strategies, and score the answers')
    .requiredOption(
      '--benchmark <format:path>',
      'for example v-star:DIR, hr-bench:FILE.tsv; or needle, which is drawn',
    )
    .option('--questions <n>', 'questions of needle', whole(1), 300)
    .addOption(new Option('--split <name>', 'of needle').choices(['held-out', 'hard']).default('held-out'))
    .option('--limit <n>', 'only the first n questions', whole(1))
    .option('--shuffle-options <seed>', 'put the options in seeded other orders', whole(0))
    .option('--strategies <names>', 'with commas between', 'direct,p2r')
    .option('--base-url <url>', 'OpenAI-compatible endpoint, with its /v1')
    .option('--model <name>', 'model that the endpoint serves')
    .option('--checkpoint <dir>', 'Hugging Face directory to serve here instead of an endpoint')
    .option('--perceiver-base-url <url>', 'another endpoint for the perceiver')
    .option('--perceiver-model <name>', 'another model for the perceiver')
    .option('--perceiver-checkpoint <dir>', 'another directory for the perceiver')
    .option('--fingerprint <text>', 'names the weights behind --model (default: its URL and name)')
    .option('--perceiver-fingerprint <text>', 'names the weights behind --perceiver-model')
    .option('--label <text>', "what tables call the model (default: its name, or the directory's)")
    .option('--perceiver-label <text>', 'what tables call another perceiver')
    .option('--name <name>', 'directory of the evaluation (default: from its contents)')
    .option('--prompt-set <name>', 'paper, authors, authors-evaluation or qwen')
    .option('--image-rules <name>', 'paper, paper-evaluation or tiny')
    .option('--extractor <name>', 'how answers are read', 'p2r@1')
    .addOption(
      new Option('--grounding <protocol>', 'what boxes are compared by')
        .choices(GROUNDING_PROTOCOLS)
        .default('union'),
    )
    .option('--max-tokens <n>', 'tokens of an answer', whole(1))
    .option('--perceiver-max-tokens <n>', 'tokens of the perceiver', whole(1))
    .option('--temperature <t>', '0 is greedy', number(0), 0)
    .option('--repetition-penalty <p>', "vLLM's; the authors' evaluation uses 1.05", number(0.01))
    .option('--repeats <n>', 'answers per question (needs a temperature)', whole(1), 1)
    .option('--concurrency <n>', 'most requests at once', whole(1), 32)
    .option('--timeout <seconds>', 'after which a silent request is tried again', number(0.1), 300)
    .option('--retries <n>', 'tries after the first', whole(0), 8)
    .option('--threads <n>', 'of a model served here', whole(1), 2)
    .option('--judge-base-url <url>', 'endpoint that compares free-form answers')
    .option('--judge-model <name>', 'model of the judge')
    .option('--dry-run', 'ask nothing; say what would be asked and which differences it could show')
    .option('--json', 'print the result as JSON')
    .addHelpText(
      'after',
      `
Keys: P2R_ENDPOINT_TOKEN, P2R_PERCEIVER_TOKEN and P2R_JUDGE_TOKEN are sent as Bearer tokens.
Run the same command again to go on where it ended. Exit codes: 0 complete, 1 answers are missing, 2 wrong input, 3 endpoint away.

Examples:
  p2r eval --benchmark needle --checkpoint models/tiny --strategies direct,p2r,oracle
  p2r eval --benchmark v-star:vstar_bench --base-url http://127.0.0.1:8000/v1 --model Qwen/Qwen3-VL-4B-Instruct`,
    )
    .action(async (options: EvalOptions) => (await import('./evaluate.ts')).evaluate(store, options));
}
