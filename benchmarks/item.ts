/** A question of a benchmark as the rest of the project sees it, whatever file it came from. */
import { letterAt } from '../method/answers.ts';
import type { Box, Size } from '../method/boxes.ts';
import type { AnswerForm } from '../method/prompts.ts';

/** An image that is read when it is needed: a file, a cell of a table. */
export type ImageSource = {
  /** The same for two questions about one image, different for two images of the benchmark. */
  key: string;
  /** sha256 of its content where the reader knows it: of the file, or of the text of its cell. */
  sha256?: string;
  /** The encoded file. Rejects with a {@link BenchmarkError} when it is missing or no image. */
  read(): Promise<Buffer>;
};

/** One question. */
export type Item = {
  /** Unique within the benchmark and stable over runs. */
  id: string;
  image: ImageSource;
  /** Text put to the model, lettered options included. */
  question: string;
  /** Text without options. */
  stem: string;
  /** `options[0]` is A; empty for open questions and for grounding. */
  options: string[];
  form: AnswerForm;
  /** Letter, number or text; empty for grounding. */
  answer: string;
  /** Ground-truth boxes in pixels of the original; `null` where there are none. */
  truth: Box[] | null;
  /** What tables are broken down by, coarse to fine: `['Perception', 'Remote Sensing']`. */
  category: string[];
  /** Questions of one cluster are not independent: one image, or the permutations of one question. */
  cluster: string;
  /** Size of the original where the file says it; otherwise it is read from the image. */
  size?: Size;
  sentence?: boolean;
};

/** A benchmark or training-set file that is being read. */
export type Benchmark = {
  /** `v-star`, `hr-bench-4k`, … */
  name: string;
  /** How tables call it. */
  title: string;
  licence: string;
  /** Rows the published file has; `null` where that is not known. */
  published: number | null;
  /** Files the items come from. */
  files: string[];
  /** The items in the file's order; images are not read. Throws {@link BenchmarkError} at the first row that is wrong. */
  items(): AsyncIterable<Item>;
};

/** A benchmark file that does not hold what its format promises. The message names the file, the row and the field. */
export class BenchmarkError extends Error {
  constructor(where: string, problem: string) {
    super(`${where}: ${problem}`);
    this.name = 'BenchmarkError';
  }
}

/** `A. red`, `B. green`, one a line. */
export function letteredLines(options: readonly string[]): string {
  return options.map((option, index) => `${letterAt(index)}. ${option}`).join('\n');
}
