import type { Box } from '../boxes.ts';
import type { Strategy } from './strategy.ts';
import { converse, fourNumbers, ToolError, viewRules, wholeRegion, within, zoom } from './tool-loop.ts';

const SYSTEM =
  "You are a helpful assistant. Answer the user's question based on the image provided. Output your thinking process within the <think> and </think> tags. Whenever you find anything unclear, you can zoom in a specific region in the given image to see more clearly by outputing <grounding>{\"bbox_2d\": [x0, y0, x1, y1], \"source\": \"original_image\"}</grounding>, where (x0, y0) and (x1, y1) are the top-left and bottom-right coordinates of the region that you want to zoom in, respectively (suppose the width and height of the image are 1.0), and 'source' refers to the image that you zoom in and could be either 'original_image' or 'observation_i'. Once the final answer is confirmed, put it within <answer> and </answer>.";

const RULES = viewRules('mini-o3', { factor: 28, minPixels: 40_000, maxPixels: 2_000_000 });
const TURNS = 12;
const MOST_ASPECT = 200;

/** The last `<grounding>` of a reply; null where there is none. */
function grounding(text: string): { box: [number, number, number, number]; source: string } | null {
  const start = text.lastIndexOf('<grounding>');
  if (start < 0) return null;
  const body = text.slice(start + '<grounding>'.length).split('</grounding>')[0] ?? '';
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch {
    throw new ToolError('the grounding is not valid JSON');
  }
  const { bbox_2d, source } = Object(value) as { bbox_2d?: unknown; source?: unknown };
  if (typeof source !== 'string') throw new ToolError("There is no 'source' in grounding argument");
  return { box: fourNumbers(bbox_2d), source };
}

/**
 * Mini-o3 (for its own checkpoint): boxes are shares of the original or of an earlier observation, at most 12 replies as in its
 * evaluation. The published figures are means over 32 answers at temperature 1.0.
 */
export const miniO3: Strategy = {
  name: 'mini-o3',
  version: 1,
  title: 'Mini-o3',
  budget: { calls: TURNS, completionTokens: 65_536 },
  async run(context) {
    const { question, settings } = context;
    const views: Box[] = [wholeRegion(question.size)];
    return converse(
      context,
      [
        { role: 'system', parts: [SYSTEM] },
        { role: 'user', parts: [await context.whole(RULES), `\n${question.text}`] },
      ],
      { max_tokens: settings.reasonerMaxTokens, temperature: settings.temperature },
      TURNS,
      async (text, turn) => {
        try {
          const asked = grounding(text);
          if (asked === null) return { stop: text.includes('<answer>') ? 'answered' : 'no_answer' };
          const number =
            asked.source === 'original_image' ? '0' : /^observation_(\d+)/.exec(asked.source)?.[1];
          const view = number === undefined ? undefined : views[Number(number)];
          if (view === undefined)
            throw new ToolError(
              `Error in predicting the source observation: "${asked.source.slice(0, 40)}".`,
            );
          const region = inside(view, within(view, asked.box));
          const image = await zoom(context, region, RULES);
          views.push(region);
          return {
            user: [
              `After the above Action ${turn}, here is the the zoom-in image (Observation ${turn + 1}):\n`,
              image,
              '.\nContinue your reasoning process inside <think> and </think>. If needed, you can continue to zoom in on the original image or any of the observations, by outputting <grounding> and </grounding> as before. If the final answer is confirmed, put your final answer inside <answer> and </answer>.',
            ],
            box: region,
          };
        } catch (error) {
          if (!(error instanceof ToolError)) throw error;
          return {
            user: [
              `ERROR occurs during grounding. Error Information: ${error.message}.\nPlease analyze the error information obtained from the function tool and adjust your response. Countinue your reasoning process inside <think> and </think>.`,
            ],
            failed: true,
          };
        }
      },
    );
  },
};

/** Whole pixels inside the view, its last row and column left out as in the published code. */
function inside(view: Box, { x1, y1, x2, y2 }: Box): Box {
  const region = {
    x1: Math.max(Math.trunc(x1), view.x1),
    y1: Math.max(Math.trunc(y1), view.y1),
    x2: Math.min(Math.trunc(x2), view.x2 - 1),
    y2: Math.min(Math.trunc(y2), view.y2 - 1),
    label: '',
  };
  const [width, height] = [region.x2 - region.x1, region.y2 - region.y1];
  if (width < 1 || height < 1) throw new ToolError('The bounding box is not valid');
  if (Math.max(width, height) / Math.min(width, height) >= MOST_ASPECT)
    throw new ToolError('The absolute aspect ratio of the bounding box exceeds 200, which is too large.');
  return region;
}
