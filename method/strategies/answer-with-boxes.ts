/** The Reasoner's half of P2R for boxes from anywhere: what Table 5, Figure 12 and P2R itself have in common. */
import type { Box } from '../boxes.ts';
import { renderPrompt } from '../prompts.ts';
import { conversation, decoding, type Outcome, type StrategyContext } from './strategy.ts';

/**
 * Annotates and crops the boxes and asks the Reasoner. Boxes that give no crop, and no boxes at all, mean the plain image and the
 * prompt without the sentence about highlighted regions, as in the authors' code.
 * @see paper, section 3.2 (eq. 2) and appendix B.2
 */
export async function answerWithBoxes(context: StrategyContext, boxes: readonly Box[]): Promise<Outcome> {
  const { question, settings } = context;
  const evidence = boxes.length === 0 ? null : await context.evidence(boxes);
  const usable = evidence !== null && evidence.usedBoxes.length > 0;
  const prompt = renderPrompt({
    set: settings.promptSet,
    role: usable ? 'reasoner' : 'no-evidence',
    question: question.text,
    answerForm: question.form,
  });
  const images = usable ? evidence.images : [await context.whole()];
  const reply = await context.ask({
    to: 'reasoner',
    messages: conversation(prompt, images),
    decoding: decoding(settings, settings.reasonerMaxTokens),
  });
  return { text: reply.text, stop: 'answered', boxes: [...boxes] };
}
