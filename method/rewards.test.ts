import { describe, expect, it } from 'vitest';
import { BOX_PENALTIES, boxPenalties, directReward, perceiverReward, reasonerReward } from './rewards.ts';

const box = (x1: number, x2: number, label = 'car') => ({ x1, y1: 0, x2, y2: 10, label });
const right = { status: 'judged', correct: true } as const;
const wrong = { status: 'judged', correct: false } as const;
const broken = { status: 'unjudged', reason: 'the Reasoner did not answer' } as const;

describe('eq. 3', () => {
  it('is 1 for a right answer and 0 for a wrong one, in every role', () => {
    for (const reward of [reasonerReward, directReward]) {
      expect(reward(right)).toEqual({ status: 'scored', reward: 1, terms: { correct: 1 } });
      expect(reward(wrong)).toEqual({ status: 'scored', reward: 0, terms: { correct: 0 } });
    }
    expect(perceiverReward({ boxes: [box(0, 10)], verdict: right })).toEqual({
      status: 'scored',
      reward: 1,
      terms: { correct: 1 },
    });
  });

  it('is never 0 for what could not be judged', () => {
    const unscored = { status: 'unscored', reason: 'the Reasoner did not answer' };
    expect(reasonerReward(broken)).toEqual(unscored);
    expect(directReward(broken)).toEqual(unscored);
    expect(perceiverReward({ boxes: [], verdict: broken })).toEqual(unscored);
    expect(perceiverReward({ boxes: [] })).toEqual({
      status: 'unscored',
      reason: 'the Reasoner was not asked',
    });
  });
});

describe('penalties', () => {
  it('the authors rule out overlapping boxes and boxes without a label, before asking', () => {
    const twice = [box(0, 10), box(1, 11)]; // IoU 90 / 110
    expect(perceiverReward({ boxes: twice, verdict: right, penalties: BOX_PENALTIES.authors })).toEqual({
      status: 'scored',
      reward: 0,
      terms: { overlap: -1, empty_label: 0 },
    });
    expect(boxPenalties([box(0, 10, 'description')], BOX_PENALTIES.authors)).toEqual({
      vetoed: true,
      terms: { overlap: 0, empty_label: -1 },
    });
  });

  it('an IoU of exactly the limit is allowed', () => {
    const half = [box(0, 10), box(0, 5)];
    expect(boxPenalties(half, BOX_PENALTIES.authors).vetoed).toBe(false);
  });

  it('takes amounts off and logs each under its name', () => {
    const boxes = [box(0, 10), box(0, 10), box(0, 10, ' '), box(50, 60)];
    const reward = perceiverReward({
      boxes,
      verdict: right,
      penalties: {
        overlap: { iou: 0.5, cost: { perCase: 0.1 } },
        emptyLabel: { placeholders: [], cost: { perCase: 0.05 } },
        boxCount: { most: 3, cost: { perCase: 0.02 } },
      },
    });
    expect(reward).toMatchObject({
      status: 'scored',
      terms: { correct: 1, empty_label: -0.05, box_count: -0.02 },
    });
    // Three pairs overlap: 1 - 0.3 - 0.05 - 0.02.
    expect(reward.status === 'scored' && reward.reward).toBeCloseTo(0.63, 12);
    expect(reward.status === 'scored' && reward.terms.overlap).toBeCloseTo(-0.3, 12);
  });
});
