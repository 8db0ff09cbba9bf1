import { type AnswerForm, type PromptSetName, renderPrompt } from '../prompts.ts';
import { conversation, decoding, type Strategy } from './strategy.ts';

const FORMS: Record<AnswerForm, string> = {
  choice:
    "Answer the question with the option's letter from the given choices (e.g., A, B, etc.) directly.\n",
  number: 'Answer the question using a numerical value (e.g., 42 or 3.1) directly.\n',
  text: 'Answer the question simply and directly.\n',
};

/** Prompt sets that know an answer without reasoning. The paper prints none, so in its set `direct` and `cot` ask the same. */
const ANSWERS_AT_ONCE: Record<PromptSetName, boolean> = {
  paper: false,
  authors: true,
  'authors-evaluation': true,
  qwen: true,
};

/** Tokens of an answer given at once, in the authors' evaluation. */
const LETTER_TOKENS = 16;

/** The image and the question, answered at once (mode `default` of the authors' evaluation). */
export const direct: Strategy = {
  name: 'direct',
  version: 1,
  title: 'Direct',
  budget: { calls: 1, completionTokens: 16_384 },
  async run(context) {
    const { question, settings } = context;
    const atOnce = ANSWERS_AT_ONCE[settings.promptSet];
    const prompt = renderPrompt({ set: settings.promptSet, role: 'direct', question: question.text });
    const user = atOnce ? `Question: ${question.text}\n${FORMS[question.form]}` : prompt.user;
    const tokens = atOnce && question.form !== 'text' ? LETTER_TOKENS : settings.reasonerMaxTokens;
    const reply = await context.ask({
      to: 'reasoner',
      messages: conversation({ ...prompt, user }, [await context.whole()]),
      decoding: decoding(settings, tokens),
    });
    return { text: reply.text, stop: 'answered', boxes: [] };
  },
};
