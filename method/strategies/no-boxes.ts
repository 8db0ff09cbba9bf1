import { answerWithBoxes } from './answer-with-boxes.ts';
import type { Strategy } from './strategy.ts';

/** The Reasoner without any box: the "no bounding box" bar of Figure 12. */
export const noBoxes: Strategy = {
  name: 'none',
  version: 1,
  title: 'No boxes',
  budget: { calls: 1, completionTokens: 16_384 },
  run: (context) => answerWithBoxes(context, []),
};
