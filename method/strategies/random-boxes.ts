import type { Box } from '../boxes.ts';
import { answerWithBoxes } from './answer-with-boxes.ts';
import type { Strategy, StrategyContext } from './strategy.ts';

/** Side of a random box, as a share of the image's, where no ground truth says how large evidence is. */
const DEFAULT_SHARE = 0.1;

/**
 * As many boxes as there are true ones (one where none are known), of the same sizes, each at a place drawn uniformly: the same for every
 * model. The paper does not say how its random boxes were drawn. Units: pixels of the original image.
 * @see paper, Figure 12
 */
export function randomBoxes({ question, random }: Pick<StrategyContext, 'question' | 'random'>): Box[] {
  const { width, height } = question.size;
  const sizes = (question.truth ?? []).map(({ x1, y1, x2, y2 }) => ({ width: x2 - x1, height: y2 - y1 }));
  if (sizes.length === 0) sizes.push({ width: DEFAULT_SHARE * width, height: DEFAULT_SHARE * height });
  return sizes.map((size) => {
    const x1 = Math.round(random() * Math.max(0, width - size.width));
    const y1 = Math.round(random() * Math.max(0, height - size.height));
    return { x1, y1, x2: x1 + size.width, y2: y1 + size.height, label: '' };
  });
}

/** Boxes at random places: the control of Figure 12. */
export const random: Strategy = {
  name: 'random',
  version: 2,
  title: 'Random boxes',
  budget: { calls: 1, completionTokens: 16_384 },
  usesTruth: true,
  run: (context) => answerWithBoxes(context, randomBoxes(context)),
};
