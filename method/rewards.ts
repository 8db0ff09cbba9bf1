import { type Box, boxIou } from './boxes.ts';

/**
 * A reward, or the reason why there is none. A completion that could not be judged is `unscored`: it is judged again or left out of its
 * group, and never counts as 0. `terms` holds what the reward is made of, each under its own name for the logs.
 */
export type Reward =
  | { status: 'scored'; reward: number; terms: Record<string, number> }
  | { status: 'unscored'; reason: string };

/** Whether the answer that followed was right: the indicator of the paper's eq. 3, or why that could not be found out. */
export type Verdict = { status: 'judged'; correct: boolean } | { status: 'unjudged'; reason: string };

/** What a broken rule costs: everything (`veto`), or an amount taken off for each time it is broken. */
export type PenaltyCost = 'veto' | { perCase: number };

/** Optional penalties on a Perceiver's boxes; the paper uses none. */
export type BoxPenalties = {
  /** Pairs of boxes whose IoU is above `iou` (0..1). */
  overlap?: { iou: number; cost: PenaltyCost };
  /** Boxes whose label is empty or one of `placeholders`. */
  emptyLabel?: { placeholders: readonly string[]; cost: PenaltyCost };
  /** Boxes beyond `most`. */
  boxCount?: { most: number; cost: PenaltyCost };
};

/** The named penalty sets: none (the paper), and what the authors' code refuses before it asks the Reasoner. */
export const BOX_PENALTIES = {
  paper: {},
  authors: {
    overlap: { iou: 0.5, cost: 'veto' },
    emptyLabel: { placeholders: ['description'], cost: 'veto' },
  },
} as const satisfies Record<string, BoxPenalties>;

/** Penalty terms of a set of boxes (0 or negative, by name) and whether one of them rules the completion out. */
export type PenaltyTerms = { vetoed: boolean; terms: Record<string, number> };

/**
 * The penalties of a set of boxes. A veto shows as -1; the Reasoner then need not be asked.
 * `overlap` looks at every pair, so it takes time quadratic in the number of boxes; it stops counting at the first pair under a veto.
 */
export function boxPenalties(boxes: readonly Box[], penalties: BoxPenalties): PenaltyTerms {
  const terms: Record<string, number> = {};
  let vetoed = false;
  const charge = (name: string, cases: number, cost: PenaltyCost) => {
    terms[name] = 0;
    if (cases === 0) return;
    if (cost === 'veto') {
      terms[name] = -1;
      vetoed = true;
    } else {
      terms[name] = -cost.perCase * cases;
    }
  };
  const { overlap, emptyLabel, boxCount } = penalties;
  if (overlap !== undefined) {
    charge(
      'overlap',
      overlappingPairs(boxes, overlap.iou, overlap.cost === 'veto' ? 1 : Infinity),
      overlap.cost,
    );
  }
  if (emptyLabel !== undefined) {
    const empty = boxes.filter(({ label }) => {
      const text = label.trim();
      return text === '' || emptyLabel.placeholders.includes(text);
    });
    charge('empty_label', empty.length, emptyLabel.cost);
  }
  if (boxCount !== undefined) charge('box_count', Math.max(0, boxes.length - boxCount.most), boxCount.cost);
  return { vetoed, terms };
}

function overlappingPairs(boxes: readonly Box[], limit: number, enough: number): number {
  let pairs = 0;
  for (const [index, box] of boxes.entries()) {
    for (let other = index + 1; other < boxes.length; other++) {
      const second = boxes[other];
      if (second !== undefined && boxIou(box, second) > limit) pairs++;
      if (pairs >= enough) return pairs;
    }
  }
  return pairs;
}

/**
 * Reward of a Perceiver's completion: 1 if the frozen Reasoner, given the evidence of its boxes, answered right, else 0, less penalties.
 * With a veto the reward is 0 whatever the verdict would be, and `verdict` may be left out.
 * @see paper, eq. 3 and Algorithm 1, line 26 (perception phase)
 */
export function perceiverReward(input: {
  boxes: readonly Box[];
  verdict?: Verdict;
  penalties?: BoxPenalties;
}): Reward {
  const { vetoed, terms } = boxPenalties(input.boxes, input.penalties ?? BOX_PENALTIES.paper);
  if (vetoed) return { status: 'scored', reward: 0, terms };
  if (input.verdict === undefined) {
    return { status: 'unscored', reason: 'the Reasoner was not asked' };
  }
  return fromVerdict(input.verdict, terms);
}

/**
 * Reward of a Reasoner's completion: 1 if its answer is right, else 0.
 * @see paper, eq. 3 and Algorithm 1, line 26 (reasoning phase)
 */
export function reasonerReward(verdict: Verdict): Reward {
  return fromVerdict(verdict, {});
}

/**
 * Reward of the direct baseline, trained on the image alone: 1 if its answer is right, else 0.
 * @see paper, eq. 3
 */
export function directReward(verdict: Verdict): Reward {
  return fromVerdict(verdict, {});
}

function fromVerdict(verdict: Verdict, penalties: Record<string, number>): Reward {
  if (verdict.status === 'unjudged') return { status: 'unscored', reason: verdict.reason };
  const correct = verdict.correct ? 1 : 0;
  const reward = Object.values(penalties).reduce((sum, term) => sum + term, correct);
  return { status: 'scored', reward, terms: { correct, ...penalties } };
}
