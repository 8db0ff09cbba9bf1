import { parseBoxes } from '../boxes.ts';
import { renderPrompt } from '../prompts.ts';
import { conversation, decoding, type Strategy } from './strategy.ts';

/** Only the boxes, for a description: ReasonSeg, Table 4. Sentences and noun phrases have each their prompt in the authors' code. */
export const grounding: Strategy = {
  name: 'grounding',
  version: 1,
  title: 'Grounding only',
  budget: { calls: 1, completionTokens: 4096 },
  grounds: true,
  async run(context) {
    const { question, settings } = context;
    const prompt = renderPrompt({ set: settings.promptSet, role: 'grounding', question: question.text });
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
