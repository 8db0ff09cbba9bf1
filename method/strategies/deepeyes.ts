import { letterAt } from '../answers.ts';
import type { Strategy } from './strategy.ts';
import { converse, fourNumbers, ToolError, toolCall, viewRules, zoom } from './tool-loop.ts';

// "required":["bbox"] names a parameter that does not exist; the model was trained with it.
const SYSTEM = `You are a helpful assistant.

# Tools
You may call one or more functions to assist with the user query.
You are provided with function signatures within <tools></tools> XML tags:
<tools>
{"type":"function","function":{"name":"image_zoom_in_tool","description":"Zoom in on a specific region of an image by cropping it based on a bounding box (bbox) and an optional object label.","parameters":{"type":"object","properties":{"bbox_2d":{"type":"array","items":{"type":"number"},"minItems":4,"maxItems":4,"description":"The bounding box of the region to zoom in, as [x1, y1, x2, y2], where (x1, y1) is the top-left corner and (x2, y2) is the bottom-right corner."},"label":{"type":"string","description":"The name or label of the object in the specified bounding box (optional)."}},"required":["bbox"]}}}
</tools>

# How to call a tool
Return a json object with function name and arguments within <tool_call></tool_call> XML tags:
<tool_call>
{"name": <function-name>, "arguments": <args-json-object>}
</tool_call>

**Example**:  
<tool_call>  
{"name": "image_zoom_in_tool", "arguments": {"bbox_2d": [10, 20, 100, 200], "label": "the apple on the desk"}}  
</tool_call>`;

const INSTRUCTION =
  '\nThink first, call **image_zoom_in_tool** if needed, then answer. Format strictly as:  <think>...</think>  <tool_call>...</tool_call> (if tools needed)  <answer>...</answer> ';

const RULES = viewRules('deepeyes', { factor: 28, minPixels: 4 * 28 * 28, maxPixels: 16_384 * 28 * 28 });
const TURNS = 11;

/**
 * DeepEyes (for its own checkpoint): boxes are pixels of the original, every crop is cut from it, only the first call of a reply counts.
 * A reply without call and answer ends it; the published loop would send the same greedy request again. A call that cannot be run ends
 * it too, as there.
 */
export const deepEyes: Strategy = {
  name: 'deepeyes',
  version: 1,
  title: 'DeepEyes',
  budget: { calls: TURNS, completionTokens: 65_536 },
  async run(context) {
    const { question, settings } = context;
    const options = question.options.map((option, index) => `${letterAt(index)}. ${option}\n`).join('');
    const asked =
      question.options.length === 0
        ? `Question: ${question.text}\n`
        : `Question: ${question.stem}\nOptions: \n${options}\n`;
    return converse(
      context,
      [
        { role: 'system', parts: [SYSTEM] },
        { role: 'user', parts: [await context.whole(RULES), asked + INSTRUCTION] },
      ],
      { max_tokens: 10_240, temperature: settings.temperature, stop: ['<|im_end|>'] },
      TURNS,
      async (text) => {
        if (text.includes('</answer>')) return { stop: 'answered' };
        try {
          const call = toolCall(text);
          if (call === null) return { stop: 'no_answer' };
          const [x1, y1, x2, y2] = fourNumbers(call.arguments.bbox_2d);
          const box = { x1, y1, x2, y2, label: String(call.arguments.label ?? '') };
          const image = await zoom(context, box, RULES);
          return { user: ['<tool_response>', image, INSTRUCTION, '</tool_response>'], box };
        } catch (error) {
          if (error instanceof ToolError) return { stop: 'no_answer' };
          throw error;
        }
      },
    );
  },
};
