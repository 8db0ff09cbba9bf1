import type { Box } from '../boxes.ts';
import { renderPrompt } from '../prompts.ts';
import { decoding, type Strategy } from './strategy.ts';
import { converse, fourNumbers, ToolError, toolCall, viewRules, wholeRegion, zoom } from './tool-loop.ts';

const ROLE = `Your role is that of a research assistant specializing in visual information. Answer questions about images by looking at them closely and then using research tools. Please follow this structured thinking process and show your work.

Start an iterative loop for each question:

- **First, look closely:** Begin with a detailed description of the image, paying attention to the user's question. List what you can tell just by looking, and what you'll need to look up.
- **Next, find information:** Use a tool to research the things you need to find out.
- **Then, review the findings:** Carefully analyze what the tool tells you and decide on your next action.

Continue this loop until your research is complete.

To finish, bring everything together in a clear, synthesized answer that fully responds to the user's question.`;

const TOOL =
  '{"type": "function", "function": {"name": "image_zoom_in_tool", "description": "Zoom in on a specific region of an image by cropping it based on a bounding box (bbox) and an optional object label", "parameters": {"type": "object", "properties": {"bbox_2d": {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 4, "description": "The bounding box of the region to zoom in, as [x1, y1, x2, y2], where (x1, y1) is the top-left corner and (x2, y2) is the bottom-right corner"}, "label": {"type": "string", "description": "The name or label of the object in the specified bounding box"}, "img_idx": {"type": "number", "description": "The index of the zoomed-in image (starting from 0)"}}, "required": ["bbox_2d", "label", "img_idx"]}}}';

/** How tools are offered to Qwen models: the "nous" template of Qwen-Agent. */
export function offeredTools(...tools: string[]): string {
  return `# Tools\n\nYou may call one or more functions to assist with the user query.\n\nYou are provided with function signatures within <tools></tools> XML tags:\n<tools>\n${tools.join('\n')}\n</tools>\n\nFor each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:\n<tool_call>\n{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>`;
}

const RULES = viewRules('qwen3-vl-zoom', { factor: 32, minPixels: 256 * 32 * 32, maxPixels: 12_845_056 });
const LEAST_SIDE = 32;
const TURNS = 20;

/** Grows a region (pixels of its view) about its centre to the least side, and keeps it inside the view. */
function enlarged(
  [x1, y1, x2, y2]: number[],
  width: number,
  height: number,
): [number, number, number, number] {
  const box = [
    Math.max(0, x1 ?? 0),
    Math.max(0, y1 ?? 0),
    Math.min(width, x2 ?? 0),
    Math.min(height, y2 ?? 0),
  ];
  const [left = 0, top = 0, right = 0, bottom = 0] = box;
  const least = Math.min(right - left, bottom - top);
  if (least >= LEAST_SIDE || least <= 0) return [left, top, right, bottom];
  const halfWidth = Math.ceil(((right - left) * LEAST_SIDE) / least / 2);
  const halfHeight = Math.ceil(((bottom - top) * LEAST_SIDE) / least / 2);
  const [x, y] = [(left + right) / 2, (top + bottom) / 2];
  const grown: [number, number, number, number] = [
    Math.max(0, Math.floor(x - halfWidth)),
    Math.max(0, Math.floor(y - halfHeight)),
    Math.min(width, Math.ceil(x + halfWidth)),
    Math.min(height, Math.ceil(y + halfHeight)),
  ];
  const fits = grown[2] - grown[0] > LEAST_SIDE && grown[3] - grown[1] > LEAST_SIDE;
  return fits ? grown : [left, top, right, bottom];
}

/**
 * Qwen3-VL with its own zoom tool (Qwen-Agent's `image_zoom_in_tool` and the system prompt of Qwen's cookbook). Boxes are 0 to 1000 of
 * the image named by `img_idx`, earlier crops included; a crop of a crop is cut from the original, not from resized pixels. It ends with
 * the first reply that calls no tool. With a temperature above 0 the cookbook's sampling is used.
 */
export const qwen3VlZoom: Strategy = {
  name: 'qwen3-vl-zoom',
  version: 1,
  title: 'Qwen3-VL with its zoom tool',
  budget: { calls: TURNS, completionTokens: 65_536 },
  async run(context) {
    const { question, settings } = context;
    const views: { region: Box; width: number; height: number }[] = [
      { region: wholeRegion(question.size), ...question.size },
    ];
    const { user } = renderPrompt({
      set: settings.promptSet,
      role: 'direct',
      question: question.text,
      answerForm: question.form,
    });
    const plain = decoding(settings, settings.reasonerMaxTokens);
    const sampled =
      settings.temperature > 0 ? { ...plain, top_p: 0.8, top_k: 20, presence_penalty: 1.5 } : plain;
    return converse(
      context,
      [
        { role: 'system', parts: [`${ROLE}\n\n${offeredTools(TOOL)}`] },
        { role: 'user', parts: [await context.whole(), user] },
      ],
      sampled,
      TURNS,
      async (text) => {
        try {
          const call = toolCall(text);
          if (call === null) return { stop: 'answered' };
          const box = fourNumbers(call.arguments.bbox_2d);
          const view = views[Number(call.arguments.img_idx)];
          if (view === undefined)
            return { user: [response('Error: Invalid input image: there is no such img_idx')], failed: true };
          const { region, width, height } = view;
          const [x1, y1, x2, y2] = enlarged(
            box.map((value, index) => (value / 1000) * (index % 2 === 0 ? width : height)),
            width,
            height,
          );
          const [across, down] = [(region.x2 - region.x1) / width, (region.y2 - region.y1) / height];
          const target = {
            x1: region.x1 + x1 * across,
            y1: region.y1 + y1 * down,
            x2: region.x1 + x2 * across,
            y2: region.y1 + y2 * down,
            label: String(call.arguments.label ?? ''),
          };
          const image = await zoom(context, target, RULES);
          views.push({ region: target, width: image.width, height: image.height });
          return { user: ['<tool_response>\n', image, '\n</tool_response>'], box: target };
        } catch (error) {
          if (!(error instanceof ToolError)) throw error;
          return { user: [response(`Tool Execution Error ${error.message}`)], failed: true };
        }
      },
    );
  },
};

function response(text: string): string {
  return `<tool_response>\n${text}\n</tool_response>`;
}
