/** Figure 8 on needle scenes: 6 steps an iteration on either side. */
import { defineStudy } from './study.ts';
import { TINY } from './tiny-settings.ts';

export default defineStudy({
  ...TINY,
  name: 'tiny-figure-8-iterations',
  title: 'Three iterations against text-only GRPO',
  iterations: 3,
  perceiver: { ...TINY.perceiver, total_steps: 4 },
  reasoner: { ...TINY.reasoner, total_steps: 2 },
  direct: { ...TINY.reasoner, total_steps: 6 },
  cases: {
    'pra-grpo': { 'evaluation.strategies': ['p2r'] },
    'text-only': { schedule: ['direct'], 'evaluation.strategies': ['direct'] },
  },
});
