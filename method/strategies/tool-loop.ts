/** What the strategies that call a zoom tool have in common: the turns, and views that know which region of the original they show. */
import type { Box, Size } from '../boxes.ts';
import { IMAGE_RULES, type ImageRules } from '../image-rules.ts';
import {
  BudgetSpent,
  type Decoding,
  type Message,
  type Outcome,
  type Part,
  type SentImage,
  type StrategyContext,
} from './strategy.ts';

/** What follows a reply: the end, or the next user turn. `box` is the region that was looked at; `failed` a call that could not be run. */
export type NextTurn =
  | { stop: 'answered' | 'no_answer' }
  | { user: Part[]; box?: Box }
  | { user: Part[]; failed: true };

/** Rules of a protocol's own: the region as it was asked for, resized into a pixel budget, without loss. */
export function viewRules(
  name: string,
  budget: { factor: number; minPixels: number; maxPixels: number },
): ImageRules {
  return {
    ...IMAGE_RULES.paper,
    name,
    cropPadding: { fraction: 0, maxPixels: null },
    factor: budget.factor,
    minPixels: budget.minPixels,
    wholeImagePixels: budget.maxPixels,
    cropPixels: budget.maxPixels,
    encoding: 'png',
  };
}

/** A region given as shares of a view (0..1), in pixels of the original. */
export function within(view: Box, [x1, y1, x2, y2]: readonly [number, number, number, number]): Box {
  const [width, height] = [view.x2 - view.x1, view.y2 - view.y1];
  return {
    x1: view.x1 + x1 * width,
    y1: view.y1 + y1 * height,
    x2: view.x1 + x2 * width,
    y2: view.y1 + y2 * height,
    label: '',
  };
}

/** The whole image as a region. */
export function wholeRegion({ width, height }: Size): Box {
  return { x1: 0, y1: 0, x2: width, y2: height, label: '' };
}

/** Cuts a region; throws an Error that the model can be told where it is empty or too thin. */
export async function zoom(context: StrategyContext, region: Box, rules: ImageRules): Promise<SentImage> {
  if (!(region.x2 - region.x1 >= 1 && region.y2 - region.y1 >= 1)) throw new ToolError('the region is empty');
  const image = await context.crop(region, rules);
  if (image === null) throw new ToolError('the region is too small or too thin');
  return image;
}

/** A call of a tool that cannot be carried out. The message goes to the model. */
export class ToolError extends Error {
  override readonly name = 'ToolError';
}

/** Four finite numbers, or a {@link ToolError}. */
export function fourNumbers(value: unknown): [number, number, number, number] {
  if (!Array.isArray(value) || value.length !== 4 || !value.every(Number.isFinite))
    throw new ToolError('bbox_2d must be a list of four numbers');
  return [value[0], value[1], value[2], value[3]];
}

/** The JSON object inside the first `<tool_call>` of a reply; null where none is called. Throws a {@link ToolError} for anything else. */
export function toolCall(text: string): { name: unknown; arguments: Record<string, unknown> } | null {
  const start = text.indexOf('<tool_call>');
  if (start < 0) return null;
  const body = text.slice(start + '<tool_call>'.length).split('</tool_call>')[0] ?? '';
  let call: unknown;
  try {
    call = JSON.parse(body);
  } catch {
    throw new ToolError('the call is not valid JSON');
  }
  if (typeof call !== 'object' || call === null) throw new ToolError('the call is no JSON object');
  const { name, arguments: given } = call as Record<string, unknown>;
  if (typeof given !== 'object' || given === null) throw new ToolError('the call has no arguments');
  return { name, arguments: given as Record<string, unknown> };
}

/**
 * Asks until `next` ends the conversation, `turns` replies have come, or a budget is used up. The answer is read from the last reply;
 * calls that could not be run are counted as the note `tool_errors`.
 */
export async function converse(
  context: StrategyContext,
  start: readonly Message[],
  decoding: Decoding,
  turns: number,
  next: (text: string, turn: number) => Promise<NextTurn>,
): Promise<Outcome> {
  const messages = [...start];
  const boxes: Box[] = [];
  let [text, failures] = ['', 0];
  const end = (stop: Outcome['stop']): Outcome => ({
    text,
    stop,
    boxes,
    ...(failures === 0 ? {} : { notes: { tool_errors: failures } }),
  });
  for (let turn = 0; turn < turns; turn++) {
    try {
      ({ text } = await context.ask({ to: 'reasoner', messages: [...messages], decoding }));
    } catch (error) {
      if (error instanceof BudgetSpent) return end(error.stop);
      throw error;
    }
    const step = await next(text, turn);
    if ('stop' in step) return end(step.stop);
    if ('failed' in step) failures++;
    else if (step.box !== undefined) boxes.push(step.box);
    messages.push({ role: 'assistant', parts: [text] }, { role: 'user', parts: step.user });
  }
  return end('turns');
}
