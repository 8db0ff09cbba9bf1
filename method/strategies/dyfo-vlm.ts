import { letterAt } from '../answers.ts';
import { type Box, parseBoxes } from '../boxes.ts';
import { renderPrompt } from '../prompts.ts';
import { conversation, decoding, type SentImage, type Strategy, type StrategyContext } from './strategy.ts';
import { wholeRegion } from './tool-loop.ts';

const SIMULATIONS = 6;
const MOST_DEPTH = 3;
const EXPLORATION = 1;
const MARGIN = 32;
const GROWTH = 1.5;

const keyObjects = (question: string) =>
  `Task: Extract all objects (including people) with their complete descriptions from the question. For example, from 'Is the person with white trousers on the left or right side of the person in blue?', extract 'person with white trousers' and 'person in blue'.\nQuestion: ${question}\nAction: Only list the objects separated by commas.`;
const presence = (object: string) =>
  `Task: Only answer yes or no.\nQuestion: Is there a ${object} in this image?`;

type Action = 'focus' | 'scatter';

/** A region of the search. `reward` is that of its own simulation; `value` sums those of all below it. */
type Node = {
  region: Box;
  depth: number;
  untried: Action[];
  children: Node[];
  parent: Node | null;
  visits: number;
  value: number;
  reward: number;
  missing: string[];
};

function nodeOf(region: Box, depth: number, parent: Node | null): Node {
  return {
    region,
    depth,
    untried: ['focus', 'scatter'],
    children: [],
    parent,
    visits: 0,
    value: 0,
    reward: 0,
    missing: [],
  };
}

const area = ({ x1, y1, x2, y2 }: Box) => (x2 - x1) * (y2 - y1);

/** Descends by upper confidence bounds to a node with an action left. */
function select(node: Node): Node {
  if (node.untried.length > 0 || node.children.length === 0) return node;
  const total = node.children.reduce((sum, { visits }) => sum + visits, 0);
  const bound = ({ value, visits }: Node) =>
    (visits === 0 ? 0 : value / visits) + EXPLORATION * Math.sqrt((2 * Math.log(total)) / (visits + 1e-8));
  return select(node.children.reduce((best, child) => (bound(child) > bound(best) ? child : best)));
}

/** One question's search. */
class Search {
  readonly #context: StrategyContext;
  readonly #objects: readonly string[];

  constructor(context: StrategyContext, objects: readonly string[]) {
    this.#context = context;
    this.#objects = objects;
  }

  async #view({ region }: Node): Promise<SentImage> {
    const { settings } = this.#context;
    const rules = {
      ...settings.imageRules,
      cropPadding: { fraction: 0, maxPixels: null },
      maxCropSide: null,
    };
    const crop = await this.#context.crop(region, { ...rules, cropPixels: rules.wholeImagePixels });
    return crop ?? this.#context.whole();
  }

  /** The union of what the expert finds of a text in a node's view, in pixels of the original; null for nothing. */
  async #expert(node: Node, text: string): Promise<Box | null> {
    const { settings } = this.#context;
    const prompt = renderPrompt({ set: settings.promptSet, role: 'grounding', question: text });
    const reply = await this.#context.ask({
      to: 'perceiver',
      messages: conversation(prompt, [await this.#view(node)]),
      decoding: decoding(settings, settings.perceiverMaxTokens),
    });
    const { x1, y1, x2, y2 } = node.region;
    const { boxes } = parseBoxes(reply.text, { width: x2 - x1, height: y2 - y1 });
    if (boxes.length === 0) return null;
    return {
      x1: x1 + Math.min(...boxes.map((box) => box.x1)),
      y1: y1 + Math.min(...boxes.map((box) => box.y1)),
      x2: x1 + Math.max(...boxes.map((box) => box.x2)),
      y2: y1 + Math.max(...boxes.map((box) => box.y2)),
      label: '',
    };
  }

  #clipped({ x1, y1, x2, y2 }: Box): Box {
    const { width, height } = this.#context.question.size;
    return {
      x1: Math.max(0, Math.floor(x1)),
      y1: Math.max(0, Math.floor(y1)),
      x2: Math.min(width, Math.ceil(x2)),
      y2: Math.min(height, Math.ceil(y2)),
      label: '',
    };
  }

  /** Semantic focus: what the question is about, with a margin. */
  async focus(node: Node): Promise<Node> {
    const found = await this.#expert(node, this.#context.question.stem);
    if (found === null) return nodeOf(node.region, node.depth + 1, node);
    const { x1, y1, x2, y2 } = found;
    const grown = { x1: x1 - MARGIN, y1: y1 - MARGIN, x2: x2 + MARGIN, y2: y2 + MARGIN, label: '' };
    return nodeOf(this.#clipped(grown), node.depth + 1, node);
  }

  /** Semantic scatter: half as large again, and with what was missing where the expert finds it there. */
  async #scatter(node: Node): Promise<Node> {
    const { x1, y1, x2, y2 } = node.region;
    const [dx, dy] = [((x2 - x1) * (GROWTH - 1)) / 2, ((y2 - y1) * (GROWTH - 1)) / 2];
    const wider = nodeOf(
      this.#clipped({ x1: x1 - dx, y1: y1 - dy, x2: x2 + dx, y2: y2 + dy, label: '' }),
      node.depth + 1,
      node,
    );
    if (node.missing.length === 0) return wider;
    const found = await this.#expert(wider, node.missing.join(', '));
    if (found === null) return wider;
    const both = {
      x1: Math.min(x1, found.x1),
      y1: Math.min(y1, found.y1),
      x2: Math.max(x2, found.x2),
      y2: Math.max(y2, found.y2),
      label: '',
    };
    return nodeOf(this.#clipped(both), node.depth + 1, node);
  }

  /** Selects, expands by a random action, simulates and passes the reward up. */
  async step(root: Node): Promise<void> {
    const selected = select(root);
    if (selected.depth >= MOST_DEPTH) return;
    const action = selected.untried.splice(
      Math.floor(this.#context.random() * selected.untried.length),
      1,
    )[0];
    const child = await (action === 'scatter' ? this.#scatter(selected) : this.focus(selected));
    selected.children.push(child);
    child.reward = await this.#simulate(child);
    for (let node: Node | null = child; node !== null; node = node.parent) {
      node.visits++;
      node.value += child.reward;
    }
  }

  /** 1 less the region's share of the image where every key object is seen in it, else 0. */
  async #simulate(node: Node): Promise<number> {
    const image = await this.#view(node);
    for (const object of this.#objects) {
      const reply = await this.#context.ask({
        to: 'reasoner',
        messages: [{ role: 'user', parts: [image, presence(object)] }],
        decoding: { max_tokens: 10, temperature: 0 },
      });
      if (reply.text.toLowerCase().includes('yes')) continue;
      node.missing = [object];
      return 0;
    }
    return 1 - area(node.region) / area(wholeRegion(this.#context.question.size));
  }

  /** The answer from a view: a letter, or the text of an open question; null where there is no letter. */
  async answer(node: Node): Promise<string | null> {
    const { question, settings } = this.#context;
    const options = question.options.map((option, index) => `\n${letterAt(index)}. ${option}`).join('');
    const choice = question.options.length > 0;
    const asked = choice
      ? `${question.stem}${options}\nAnswer with the option's letter from the given choices directly.`
      : question.text;
    const reply = await this.#context.ask({
      to: 'reasoner',
      messages: [{ role: 'user', parts: [await this.#view(node), asked] }],
      decoding: decoding(settings, settings.reasonerMaxTokens),
    });
    if (!choice) return reply.text.trim();
    return (
      question.options.map((_, index) => letterAt(index)).find((letter) => reply.text.includes(letter)) ??
      null
    );
  }
}

const everyNode = (node: Node): Node[] => [node, ...node.children.flatMap(everyNode)];

/**
 * DyFo's tree search with the model itself as visual expert: the published expert is Lang-SAM, a service that a chat endpoint does not
 * have. Differences besides: regions stay in one frame of coordinates, are sent under the run's image rules (published: 336 pixels), and
 * an answer without a letter is no vote (published: a vote for A).
 */
export const dyfoVlm: Strategy = {
  name: 'dyfo-vlm',
  version: 1,
  title: 'DyFo, the model as expert',
  budget: { calls: 200, completionTokens: 32_768 },
  async run(context) {
    const { question } = context;
    const listed = await context.ask({
      to: 'reasoner',
      messages: [{ role: 'user', parts: [keyObjects(question.stem)] }],
      decoding: { max_tokens: 50, temperature: 0 },
    });
    const objects = listed.text
      .split(',')
      .map((object) => object.trim())
      .filter((object) => object !== '');
    const search = new Search(context, objects);
    const whole = nodeOf(wholeRegion(question.size), 0, null);
    const root = { ...(await search.focus(whole)), parent: null };
    for (let run = 0; run < SIMULATIONS; run++) await search.step(root);
    const nodes = everyNode(root);
    const votes = new Map<string, number>();
    let silent = 0;
    for (const node of nodes) {
      const answer = await search.answer(node);
      if (answer === null) silent++;
      else votes.set(answer, (votes.get(answer) ?? 0) + node.reward);
    }
    const [best] = [...votes].sort(([, a], [, b]) => b - a);
    const answer = best !== undefined && best[1] > 0 ? best[0] : await search.answer(whole);
    const chosen = nodes.reduce((most, node) => (node.reward > most.reward ? node : most));
    return {
      text: answer === null ? '' : `<answer>${answer}</answer>`,
      stop: answer === null ? 'no_answer' : 'answered',
      boxes: [chosen.region],
      notes: { nodes: nodes.length, ...(silent > 0 ? { letter_missing: silent } : {}) },
    };
  },
};
