import type { Box } from '../boxes.ts';
import { answerWithBoxes } from './answer-with-boxes.ts';
import type { Strategy, StrategyContext } from './strategy.ts';

/** Side of a random box, as a share of the image's, where no ground truth says how large evidence is. */
const DEFAULT_SHARE = 0.1;

/**
 * One box, of the size of one of the true ones, at a place drawn uniformly: the same for every model. Always one, as the number of true boxes
 * tells much about the answer to a question that counts. The paper does not say how its random boxes were drawn. Units: pixels of the
 * original image.
 * @see paper, Figure 12
 */
export function randomBox({ question, random }: Pick<StrategyContext, 'question' | 'random'>): Box {
  const { size, truth } = question;
  const model = truth?.[Math.floor(random() * truth.length)];
  const width = model === undefined ? DEFAULT_SHARE * size.width : model.x2 - model.x1;
  const height = model === undefined ? DEFAULT_SHARE * size.height : model.y2 - model.y1;
  const x1 = Math.round(random() * Math.max(0, size.width - width));
  const y1 = Math.round(random() * Math.max(0, size.height - height));
  return { x1, y1, x2: x1 + width, y2: y1 + height, label: '' };
}

/** A box at a random place: the control of Figure 12. */
export const random: Strategy = {
  name: 'random',
  version: 3,
  title: 'Random boxes',
  budget: { calls: 1, completionTokens: 16_384 },
  usesTruth: true,
  run: (context) => answerWithBoxes(context, [randomBox(context)]),
};
