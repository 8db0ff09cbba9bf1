import type { Box } from '../boxes.ts';
import { offeredTools } from './qwen3-vl-zoom.ts';
import { decoding, type Strategy } from './strategy.ts';
import {
  converse,
  fourNumbers,
  ToolError,
  toolCall,
  viewRules,
  wholeRegion,
  within,
  zoom,
} from './tool-loop.ts';

const CROP =
  '{"type": "function", "function": {"name": "crop_image_normalized", "description": "Zoom in on the image based on the bounding box coordinates. It is useful when the object or text in the image is too small to be seen.", "parameters": {"type": "object", "properties": {"bbox_2d": {"type": "array", "description": "coordinates for bounding box of the area you want to zoom in. Values should be within [0.0,1.0].", "items": {"type": "number"}}, "target_image": {"type": "number", "description": "The index of the image to crop. Index from 1 to the number of images. Choose 1 to operate on original image."}}, "required": ["bbox_2d", "target_image"]}}}';
const FRAMES =
  '{"type": "function", "function": {"name": "select_frames", "description": "Select frames from a video.", "parameters": {"type": "object", "properties": {"target_frames": {"type": "array", "description": "List of frame indices to select from the video (no more than 8 frames in total).", "items": {"type": "integer", "description": "Frame index from 1 to 16."}}}, "required": ["target_frames"]}}}';
const GUIDELINES =
  '\n\nGuidelines: Understand the given visual information and the user query. Determine if it is beneficial to employ the given visual operations (tools). For a video, we can look closer by `select_frames`. For an image, we can look closer by `crop_image`. Reason with the visual information step by step, and put your final answer within \\boxed{}.';

const RULES = viewRules('pixel-reasoner', { factor: 28, minPixels: 401_408, maxPixels: 4_014_080 });
const PADDING = 0.1;
const LEAST_SIDE = 28;
/** Three crops at most: the fourth call is not carried out. */
const TURNS = 4;

/**
 * PixelReasoner (for its own checkpoint): boxes are shares of the image named by `target_image` (1 is the original), with a margin of a
 * tenth of it on each side. As in the published tool, four numbers are shares only when all of them are below 1, and pixels otherwise.
 */
export const pixelReasoner: Strategy = {
  name: 'pixel-reasoner',
  version: 1,
  title: 'PixelReasoner',
  budget: { calls: TURNS, completionTokens: 65_536 },
  async run(context) {
    const { question, settings } = context;
    const whole = await context.whole(RULES);
    const views: { region: Box; width: number; height: number }[] = [
      { region: wholeRegion(question.size), width: whole.width, height: whole.height },
    ];
    return converse(
      context,
      [
        { role: 'system', parts: [`You are a helpful assistant.\n\n${offeredTools(CROP, FRAMES)}`] },
        { role: 'user', parts: [whole, question.text + GUIDELINES] },
      ],
      decoding(settings, settings.reasonerMaxTokens),
      TURNS,
      async (text) => {
        try {
          const call = toolCall(text);
          if (call === null) return { stop: text.includes('\\boxed{') ? 'answered' : 'no_answer' };
          if (call.name !== 'crop_image_normalized')
            throw new ToolError(`there is no video to use ${String(call.name).slice(0, 40)} on`);
          const view = views[Number(call.arguments.target_image) - 1];
          if (view === undefined) throw new ToolError('there is no such target_image');
          const given = fourNumbers(call.arguments.bbox_2d);
          const shares = given.every((value) => value < 1)
            ? given
            : given.map((value, index) => value / (index % 2 === 0 ? view.width : view.height));
          const [x1 = 0, y1 = 0, x2 = 0, y2 = 0] = shares.map((value, index) =>
            Math.min(1, Math.max(0, index < 2 ? value - PADDING : value + PADDING)),
          );
          if ((x2 - x1) * view.width <= LEAST_SIDE || (y2 - y1) * view.height <= LEAST_SIDE)
            throw new ToolError('Cropped image is too small');
          const region = within(view.region, [x1, y1, x2, y2]);
          const image = await zoom(context, region, RULES);
          views.push({ region, width: image.width, height: image.height });
          return {
            user: [`\nHere is the cropped image (Image Size: ${image.width}x${image.height}):`, image],
            box: region,
          };
        } catch (error) {
          if (!(error instanceof ToolError)) throw error;
          return { user: [`\nExecution error:\n${error.message}\n`], failed: true };
        }
      },
    );
  },
};
