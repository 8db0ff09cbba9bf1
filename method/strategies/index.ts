/** All strategies by name. */
import { cot } from './cot.ts';
import { deepEyes } from './deepeyes.ts';
import { direct } from './direct.ts';
import { dyfoVlm } from './dyfo-vlm.ts';
import { grounding } from './grounding.ts';
import { miniO3 } from './mini-o3.ts';
import { noBoxes } from './no-boxes.ts';
import { oracle } from './oracle.ts';
import { p2r, selfBoxes } from './p2r.ts';
import { pixelReasoner } from './pixel-reasoner.ts';
import { qwen3VlZoom } from './qwen3-vl-zoom.ts';
import { random } from './random-boxes.ts';
import type { Strategy } from './strategy.ts';
import { zoomEye } from './zoom-eye.ts';

export const STRATEGIES: readonly Strategy[] = [
  direct,
  cot,
  p2r,
  oracle,
  noBoxes,
  random,
  selfBoxes,
  grounding,
  qwen3VlZoom,
  zoomEye,
  dyfoVlm,
  deepEyes,
  miniO3,
  pixelReasoner,
];

/** Strategies that the paper names and that are not here, each with the reason. */
export const UNAVAILABLE: Readonly<Record<string, string>> = {
  dyfo: "DyFo's visual expert is Lang-SAM, a service that a chat endpoint does not have; dyfo-vlm is its search with the model itself as expert.",
  thyme:
    'Thyme runs code that the model writes, and its published sandbox is exec() with a list of forbidden words; it is unavailable here until there is an isolated one.',
};

/** The strategy of that name, or `undefined`. */
export function strategyNamed(name: string): Strategy | undefined {
  return STRATEGIES.find((strategy) => strategy.name === name);
}
