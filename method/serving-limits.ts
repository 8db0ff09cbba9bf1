import type { ImageRules } from './image-rules.ts';

/** What a server must hold: tokens of one conversation, images of one prompt, and requests at once. */
export type ServingLimits = { context: number; images: number; concurrency: number };

/** Length limits of one role, in tokens. */
export type RoleLimits = { max_prompt_length: number; max_response_length: number };

/** Contexts are rounded up to this, as the authors do (4096 for the perceiver, 12288 for the reasoner of Table 6). */
const CONTEXT_STEP = 4096;

/** Tokens of the text beside the images: 8704 = 4 * 2048 + 512 in Table 6. */
const TEXT_TOKENS = 512;

/**
 * Limits of a server that plays these roles under these image rules. One token shows `factor` x `factor` pixels. The perceiver sees one
 * image, the reasoner the annotated one and up to `maxCrops` crops.
 */
export function servingLimits(
  roles: { perceiver?: RoleLimits; reasoner?: RoleLimits },
  rules: Pick<ImageRules, 'wholeImagePixels' | 'cropPixels' | 'factor' | 'maxCrops'>,
  concurrency: number,
): ServingLimits {
  const tokens = (pixels: number) => Math.ceil(pixels / rules.factor ** 2);
  const images = roles.reasoner === undefined ? 1 : 1 + rules.maxCrops;
  const whole = tokens(rules.wholeImagePixels) + TEXT_TOKENS;
  const needed = [
    roles.perceiver &&
      Math.max(roles.perceiver.max_prompt_length, whole) + roles.perceiver.max_response_length,
    roles.reasoner &&
      Math.max(roles.reasoner.max_prompt_length, whole + rules.maxCrops * tokens(rules.cropPixels)) +
        roles.reasoner.max_response_length,
  ];
  const most = Math.max(...needed.map((length) => length ?? 0));
  return { context: Math.ceil(most / CONTEXT_STEP) * CONTEXT_STEP, images, concurrency };
}
