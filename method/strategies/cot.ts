import { renderPrompt } from '../prompts.ts';
import { conversation, decoding, type Strategy } from './strategy.ts';

/** The image and the question, thinking step by step: "Direct CoT" of Figure 4 and Table 5. */
export const cot: Strategy = {
  name: 'cot',
  version: 1,
  title: 'Direct CoT',
  budget: { calls: 1, completionTokens: 16_384 },
  async run(context) {
    const { question, settings } = context;
    const prompt = renderPrompt({
      set: settings.promptSet,
      role: 'direct',
      question: question.text,
      answerForm: question.form,
    });
    const reply = await context.ask({
      to: 'reasoner',
      messages: conversation(prompt, [await context.whole()]),
      decoding: decoding(settings, settings.reasonerMaxTokens),
    });
    return { text: reply.text, stop: 'answered', boxes: [] };
  },
};
