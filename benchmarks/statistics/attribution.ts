/** Where errors come from: the 2 x 2 of {predicted, true} boxes x {right, wrong}, with the answer without boxes as the third witness. */

/**
 * - `robust`: right with predicted and with true boxes.
 * - `perception_limited`: wrong with predicted boxes, right with true ones.
 * - `reasoning_limited`: wrong with both.
 * - `oracle_harmed`: right with predicted boxes, wrong with true ones.
 */
export type Attribution = 'robust' | 'perception_limited' | 'reasoning_limited' | 'oracle_harmed';

/** The label of one question. */
export function attribute(predicted: boolean, oracle: boolean): Attribution {
  if (predicted) return oracle ? 'robust' : 'oracle_harmed';
  return oracle ? 'perception_limited' : 'reasoning_limited';
}

/** Counts over questions. `hint_harmed`: right without any box and wrong with the predicted ones; null where nobody asked without. */
export function attributionCounts(
  questions: readonly { predicted: boolean; oracle: boolean; without: boolean | null }[],
): Record<Attribution, number> & { hint_harmed: number | null; questions: number } {
  const counts = { robust: 0, perception_limited: 0, reasoning_limited: 0, oracle_harmed: 0 };
  for (const { predicted, oracle } of questions) counts[attribute(predicted, oracle)]++;
  const asked = questions.filter(({ without }) => without !== null);
  return {
    ...counts,
    hint_harmed:
      asked.length === 0 ? null : asked.filter(({ without, predicted }) => without && !predicted).length,
    questions: questions.length,
  };
}
