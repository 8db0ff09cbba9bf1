import { parseBoxes } from '../boxes.ts';
import { renderPrompt } from '../prompts.ts';
import { conversation, decoding, type Strategy } from './strategy.ts';

/**
 * Only the boxes (Table 4). A description (ReasonSeg) is put in the grounding prompt, sentences and noun phrases each in their own form as
 * in the authors' code; a question with options is put to the Perceiver as P2R does.
 */
export const grounding: Strategy = {
  name: 'grounding',
  version: 2,
  title: 'Grounding only',
  budget: { calls: 1, completionTokens: 4096 },
  grounds: true,
  async run(context) {
    const { question, settings } = context;
    const role = question.options.length > 0 ? 'perceiver' : 'grounding';
    const prompt = renderPrompt({ set: settings.promptSet, role, question: question.text });
    const user = question.sentence
      ? `${question.text}, locate it in the image. Report the bbox coordinates in JSON format.`
      : prompt.user;
    const reply = await context.ask({
      to: 'perceiver',
      messages: conversation({ ...prompt, user }, [await context.whole()]),
      decoding: decoding(settings, settings.perceiverMaxTokens),
    });
    const { boxes } = parseBoxes(reply.text, question.size);
    return { text: reply.text, perceiverText: reply.text, stop: 'answered', boxes };
  },
};
