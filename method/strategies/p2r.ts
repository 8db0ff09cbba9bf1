import { parseBoxes } from '../boxes.ts';
import { renderPrompt } from '../prompts.ts';
import { answerWithBoxes } from './answer-with-boxes.ts';
import { conversation, decoding, type Outcome, type Strategy, type StrategyContext } from './strategy.ts';

/** Asks the Perceiver for its boxes. @see paper, section 3.2 (eq. 1) */
export async function perceive(context: StrategyContext): Promise<string> {
  const { question, settings } = context;
  const prompt = renderPrompt({ set: settings.promptSet, role: 'perceiver', question: question.text });
  const reply = await context.ask({
    to: 'perceiver',
    messages: conversation(prompt, [await context.whole()]),
    decoding: decoding(settings, settings.perceiverMaxTokens),
  });
  return reply.text;
}

async function run(context: StrategyContext): Promise<Outcome> {
  const perceiverText = await perceive(context);
  const { boxes } = parseBoxes(perceiverText, context.question.size);
  return { ...(await answerWithBoxes(context, boxes)), perceiverText };
}

const shared = { version: 1, budget: { calls: 2, completionTokens: 16_384 }, run };

/** Perceive, then reason (paper, section 3.2). With two checkpoints it is the cross-checkpoint setting of Table 3. */
export const p2r: Strategy = { name: 'p2r', title: 'P2R', ...shared };

/** The same, as the bar "self-generated boxes" of Figure 12: its requests are P2R's, and so are its stored replies. */
export const selfBoxes: Strategy = { name: 'self', title: 'Self-generated boxes', ...shared };
