import { expect, test } from 'vitest';
import { IMAGE_RULES } from './image-rules.ts';
import { servingLimits } from './serving-limits.ts';

const perceiver = { max_prompt_length: 2560, max_response_length: 1024 };
const reasoner = { max_prompt_length: 8704, max_response_length: 2048 };

test("the authors' contexts follow from Table 6 and the training images", () => {
  expect(servingLimits({ perceiver }, IMAGE_RULES.paper, 16)).toEqual({
    context: 4096,
    images: 1,
    concurrency: 16,
  });
  expect(servingLimits({ reasoner }, IMAGE_RULES.paper, 16)).toEqual({
    context: 12288,
    images: 4,
    concurrency: 16,
  });
});

test('a server for an evaluation holds both roles at twice the pixels', () => {
  const { context, images } = servingLimits({ perceiver, reasoner }, IMAGE_RULES['paper-evaluation'], 64);
  expect(images).toBe(4);
  expect(context).toBeGreaterThanOrEqual(4 * 4096 + 512 + 2048);
  expect(context % 4096).toBe(0);
});
