/** All strategies by name. */
import { cot } from './cot.ts';
import { direct } from './direct.ts';
import { grounding } from './grounding.ts';
import { noBoxes } from './no-boxes.ts';
import { oracle } from './oracle.ts';
import { p2r, selfBoxes } from './p2r.ts';
import { random } from './random-boxes.ts';
import type { Strategy } from './strategy.ts';

export const STRATEGIES: readonly Strategy[] = [
  direct,
  cot,
  p2r,
  oracle,
  noBoxes,
  random,
  selfBoxes,
  grounding,
];

/** Strategies that the paper names and that are not here, each with the reason. */
export const UNAVAILABLE: Readonly<Record<string, string>> = {
  thyme:
    'Thyme runs code that the model writes, and its published sandbox is exec() with a list of forbidden words; it is unavailable here until there is an isolated one.',
};

/** The strategy of that name, or `undefined`. */
export function strategyNamed(name: string): Strategy | undefined {
  return STRATEGIES.find((strategy) => strategy.name === name);
}
