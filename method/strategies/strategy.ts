/** What a strategy is: one way of getting from an image and a question to an answer, over any chat endpoint. */
import type { Box, Size } from '../boxes.ts';
import type { ImageRules } from '../image-rules.ts';
import type { AnswerForm, PromptSetName } from '../prompts.ts';

/** A question about one image, as strategies see it. */
export type Question = {
  /** The text put to the model, its lettered options included. */
  text: string;
  /** The text without the options: some protocols place them differently. */
  stem: string;
  /** `options[0]` has the letter A; empty for open questions. */
  options: readonly string[];
  form: AnswerForm;
  /** Upright size of the original image in pixels. */
  size: Size;
  /** Ground-truth boxes in pixels of the original; `null` when the benchmark has none. */
  truth: readonly Box[] | null;
  /** Grounding only: whether the text is a sentence or a noun phrase (ReasonSeg's `is_sentence`). */
  sentence?: boolean;
};

/** An encoded image as it is sent, with its size in pixels. */
export type SentImage = { bytes: Buffer; width: number; height: number };

/** A part of a message: text, or an image. */
export type Part = string | SentImage;

/** One message of a conversation. */
export type Message = { role: 'system' | 'user' | 'assistant'; parts: Part[] };

/** Which checkpoint answers: both are the same model unless two were named (Table 3 of the paper). */
export type ModelRole = 'perceiver' | 'reasoner';

/** How a reply is sampled. Fields that are left out are not sent. `temperature` 0 is greedy. */
export type Decoding = {
  max_tokens: number;
  temperature: number;
  top_p?: number;
  top_k?: number;
  presence_penalty?: number;
  repetition_penalty?: number;
  stop?: string[];
  seed?: number;
  /** Asks for the log-probabilities of this many candidates of the first token. */
  top_logprobs?: number;
};

/** One request. */
export type Request = { to: ModelRole; messages: Message[]; decoding: Decoding };

/** What came back. `firstToken` is there only when log-probabilities were asked for. */
export type Reply = {
  text: string;
  finish: 'stop' | 'length' | 'other';
  promptTokens: number;
  completionTokens: number;
  firstToken?: { token: string; logprob: number }[];
};

/**
 * Why a strategy came to its end.
 * - `answered`: the protocol's own end (the single reply, an `<answer>`, a vote).
 * - `no_answer`: the model stopped without calling a tool or answering.
 * - `turns`, `calls`, `tokens`: a budget was used up.
 * - `context_full`: the conversation no longer fits the model.
 */
export type StopReason = 'answered' | 'no_answer' | 'turns' | 'calls' | 'tokens' | 'context_full';

/** What a strategy comes to. `text` is the raw text that an extractor reads the answer from. */
export type Outcome = {
  text: string;
  stop: StopReason;
  /** The perceiver's words, where there is one perceiver. */
  perceiverText?: string;
  /** Regions looked at, in pixels of the original. */
  boxes: Box[];
  /** Things a reader of the numbers should know, counted by name (for example `yes_no_missing`). */
  notes?: Record<string, number>;
};

/** Limits of one question; a strategy that reaches one ends with the typed reason. */
export type Budget = { calls: number; completionTokens: number };

/** Settings that all strategies share; part of every prediction's key. */
export type StrategySettings = {
  promptSet: PromptSetName;
  imageRules: ImageRules;
  perceiverMaxTokens: number;
  reasonerMaxTokens: number;
  /** 0 for greedy decoding, as the paper evaluates. */
  temperature: number;
  /** Sent with every request when given (the authors' evaluation uses 1.05). */
  repetitionPenalty?: number;
};

/** What a strategy works with: the question, its image in the forms asked for, and somebody to ask. */
export type StrategyContext = {
  readonly question: Question;
  readonly settings: StrategySettings;
  /** The whole image under the rules; the file's own bytes where no resize is due. */
  whole(rules?: ImageRules): Promise<SentImage>;
  /** The image with the boxes drawn and then at most three crops, and which boxes were cropped. */
  evidence(boxes: readonly Box[]): Promise<{ images: SentImage[]; usedBoxes: Box[] }>;
  /** One region, cut and resized under the rules; `null` where it is too small or too thin. */
  crop(box: Box, rules: ImageRules): Promise<SentImage | null>;
  /** The whole image with boxes drawn, and no crop. */
  framed(boxes: readonly Box[], rules: ImageRules): Promise<SentImage>;
  /** Sends one request; retries and slots are the caller's affair. Throws {@link BudgetSpent} beyond the budget. */
  ask(request: Request): Promise<Reply>;
  /** Repeatable random numbers in [0, 1): the same for the same question and repeat, whoever answers and whatever else runs. */
  random(): number;
};

/** A strategy. `version` rises when its requests or its reading of replies change. */
export type Strategy = {
  readonly name: string;
  readonly version: number;
  /** How tables call it. */
  readonly title: string;
  readonly budget: Budget;
  /** Needs ground-truth boxes: questions without them are left out and counted as not applicable. */
  readonly needsTruth?: true;
  /** Depends on the ground-truth boxes where there are some. */
  readonly usesTruth?: true;
  /** Finds regions and gives no answer: scored by boxes (Table 4 of the paper). */
  readonly grounds?: true;
  run(context: StrategyContext): Promise<Outcome>;
};

/** Thrown by `ask` when a budget is used up; ends the strategy with its reason. */
export class BudgetSpent extends Error {
  readonly stop: StopReason;
  constructor(stop: 'calls' | 'tokens' | 'context_full') {
    super(`The strategy's budget is used up: ${stop}.`);
    this.name = 'BudgetSpent';
    this.stop = stop;
  }
}

/** The endpoint lacks what a strategy needs: no property of the question, and no answer that could be wrong. */
export class StrategyUnfit extends Error {
  override readonly name = 'StrategyUnfit';
  constructor(strategy: string, why: string) {
    super(
      `The strategy "${strategy}" cannot be run here: it ${why}. Leave it out, or serve the model otherwise.`,
    );
  }
}

/** Decoding that the settings ask for, with a limit of tokens. */
export function decoding(settings: StrategySettings, maxTokens: number): Decoding {
  const { temperature, repetitionPenalty } = settings;
  return {
    max_tokens: maxTokens,
    temperature,
    ...(repetitionPenalty === undefined ? {} : { repetition_penalty: repetitionPenalty }),
  };
}

/** A system message and one user message with the images before the text. */
export function conversation(prompt: { system: string; user: string }, images: SentImage[]): Message[] {
  return [
    { role: 'system', parts: [prompt.system] },
    { role: 'user', parts: [...images, prompt.user] },
  ];
}
