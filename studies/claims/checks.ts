/** The paper's claims as checks on the tiny twins, by the twin's name. */
import type { Strategy } from '../study.ts';
import type { Check, Contrast, Expected, Figure, Metric } from './rules.ts';

const P = 'iteration-1-perceiver';
const R = 'iteration-1-reasoner';

type Place = { case?: string; checkpoint: string; strategy: Strategy };

function figure({ case: name = '', checkpoint, strategy }: Place, metric: Metric): Figure {
  return { case: name, checkpoint, strategy, metric };
}

function at(checkpoint: string, strategy: Strategy = 'p2r', name = ''): Place {
  return { case: name, checkpoint, strategy };
}

/** How far `metric` rises from one place to another. */
function rise(from: Place, to: Place, metric: Metric = 'accuracy'): Contrast {
  return [
    { weight: 1, figure: figure(to, metric) },
    { weight: -1, figure: figure(from, metric) },
  ];
}

function check(says: string, contrast: Contrast, expected: Expected = { above: 0 }): Check {
  return { says, contrast, expected };
}

/** Least-squares slope over the base and three iterations, as a contrast. */
function slope(places: Place[], sign: 1 | -1): Contrast {
  return places.map((place, x) => ({ weight: (sign * (x - 1.5)) / 5, figure: figure(place, 'accuracy') }));
}

/** Change that counts as none: three points of accuracy, .05 of hit rate or IoU. */
const NONE = { within: 0.05 };

const SIZES = ['small', 'middle', 'large'];
const ITERATIONS = [1, 2, 3];
const PRA = [
  at('base', 'p2r', 'pra-grpo'),
  ...ITERATIONS.map((n) => at(`iteration-${n}-reasoner`, 'p2r', 'pra-grpo')),
];
const TEXT = [
  at('base', 'direct', 'text-only'),
  ...ITERATIONS.map((n) => at(`iteration-${n}-direct`, 'direct', 'text-only')),
];

/** Checks of each tiny twin that stands for a table or figure of the paper. */
export const CHECKS: Record<string, Check[]> = {
  'tiny-main-results': SIZES.flatMap((size) => [
    check(
      `${size}: P2R after training beats its base's direct answers`,
      rise(at('base', 'direct', size), at(R, 'p2r', size)),
    ),
    check(`${size}: training raises P2R accuracy`, rise(at('base', 'p2r', size), at(R, 'p2r', size))),
  ]),
  'tiny-figure-4-inference': [
    check('P2R beats direct answers on the base', rise(at('base', 'direct'), at('base'))),
    check('P2R beats direct answers on the trained model', rise(at(R, 'direct'), at(R))),
  ],
  'tiny-figure-5-ablation': [
    check('the perceiver alone improves the base', rise(at('base', 'p2r', 'p-only'), at(P, 'p2r', 'p-only'))),
    check('the reasoner alone improves the base', rise(at('base', 'p2r', 'r-only'), at(R, 'p2r', 'r-only'))),
    check('both beat the perceiver alone', rise(at(P, 'p2r', 'p-only'), at(R, 'p2r', 'p-then-r'))),
    check('both beat the reasoner alone', rise(at(R, 'p2r', 'r-only'), at(R, 'p2r', 'p-then-r'))),
    check('P then R beats R then P', rise(at(P, 'p2r', 'r-then-p'), at(R, 'p2r', 'p-then-r'))),
  ],
  'tiny-figure-6-dynamics': [
    check('hit rate rises in the perceiver phase', rise(at('base'), at(P), 'hit_rate')),
    check('IoU rises in the perceiver phase', rise(at('base'), at(P), 'iou')),
    check('hit rate stays in the reasoner phase (within .05)', rise(at(P), at(R), 'hit_rate'), NONE),
    check('IoU stays in the reasoner phase (within .05)', rise(at(P), at(R), 'iou'), NONE),
    check('accuracy rises in the perceiver phase', rise(at('base'), at(P))),
    check('accuracy rises in the reasoner phase', rise(at(P), at(R))),
    check('box count rises first', rise(at('base'), at(`${P}-step-10`), 'box_count')),
    check('box count falls later', rise(at(`${P}-step-10`), at(P), 'box_count'), { below: 0 }),
    check('box size rises first', rise(at('base'), at(`${P}-step-10`), 'box_size')),
    check('box size falls later', rise(at(`${P}-step-10`), at(P), 'box_size'), { below: 0 }),
  ],
  'tiny-figure-8-iterations': [
    check('PRA-GRPO rises over three iterations (slope an iteration)', slope(PRA, 1)),
    check('text-only GRPO rises over three iterations (slope an iteration)', slope(TEXT, 1)),
    check("PRA-GRPO's slope is the steeper", [...slope(PRA, 1), ...slope(TEXT, -1)]),
  ],
  'tiny-figure-11-throughput': [
    check(
      'P2R takes more time a question than direct answers (seconds)',
      rise(at(R, 'direct'), at(R), 'seconds'),
    ),
    check(
      "P2R after training is more accurate than its base's direct answers",
      rise(at('base', 'direct'), at(R)),
    ),
  ],
  'tiny-figure-12-boxes': [
    ...['base', R].map((checkpoint) =>
      check(
        `own boxes beat none (${checkpoint === 'base' ? 'base' : 'trained'})`,
        rise(at(checkpoint, 'none'), at(checkpoint)),
      ),
    ),
    ...['base', R].map((checkpoint) =>
      check(
        `random boxes are worse than none (${checkpoint === 'base' ? 'base' : 'trained'})`,
        rise(at(checkpoint, 'none'), at(checkpoint, 'random')),
        { below: 0 },
      ),
    ),
    check('training closes part of the gap between own boxes and the ground truth', [
      ...rise(at('base'), at('base', 'oracle')),
      ...rise(at(R, 'oracle'), at(R)),
    ]),
  ],
  'tiny-table-3-cross-checkpoints': [
    check(
      'the perceiver trained alone helps the base reasoner',
      rise(at('base', 'p2r', 'full'), at(`${P} for base`, 'p2r', 'full')),
    ),
    check(
      'the reasoner trained alone helps with the base perceiver',
      rise(at('base', 'p2r', 'full'), at(`base for ${R}-of-reasoner`, 'p2r', 'full')),
    ),
    check(
      'the pair stays below the alternating model',
      rise(at(`${P} for ${R}-of-reasoner`, 'p2r', 'full'), at(R, 'p2r', 'full')),
    ),
  ],
  'tiny-table-4-grounding': [
    check(
      'grounding improves without grounding data (IoU 0.5)',
      rise(at('base', 'grounding'), at(R, 'grounding')),
    ),
  ],
  'tiny-table-5-oracle': [
    check('ground-truth boxes lift the base', rise(at('base', 'direct'), at('base', 'oracle'))),
  ],
  'tiny-e4-dapo': [
    check(
      'fewer boxes under DAPO than under GRPO',
      rise(at(P, 'p2r', 'grpo'), at(P, 'p2r', 'dapo'), 'box_count'),
      { below: 0 },
    ),
    check('lower accuracy under DAPO', rise(at(P, 'p2r', 'grpo'), at(P, 'p2r', 'dapo')), { below: 0 }),
  ],
};

/** What the project says of itself, beside the paper's claims: by study. */
export const OWN_CHECKS: Record<string, { claim: string; checks: Check[] }> = {
  'tiny-perceiver-phase': {
    claim:
      '30 steps of the perceiver phase raise held-out P2R accuracy by at least .06 (mean of three seeds).',
    checks: [check('accuracy rises by at least .06', rise(at('base'), at(P)), { above: 0.06 })],
  },
};
