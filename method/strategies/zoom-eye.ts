import { letterAt } from '../answers.ts';
import type { Box, Size } from '../boxes.ts';
import { type Part, type Strategy, type StrategyContext, StrategyUnfit } from './strategy.ts';
import { viewRules, wholeRegion } from './tool-loop.ts';

/** Side of a view in pixels; regions smaller than this are not divided further. */
const VIEW = 448;
const PATCH_SCALE = 1.2;
/** Patches nearer than this are shown as one. */
const MERGE_DISTANCE = 100;
const DEPTH_LIMIT = 5;
/** Depth of the search for "all X". */
const ALL_DEPTH = 2;
const ALL_THRESHOLD = 0.6;
/** Published values for Qwen2.5-VL. */
const BIAS = 0.6;
const [UPPER, LOWER] = [0.95, 0];
const DECREASES = [0.1, 0.1, 0.2];

const RULES = viewRules('zoom-eye', { factor: 28, minPixels: 3136, maxPixels: 12_845_056 });
const RED = [[255, 0, 0]] as const;

const cueQuestion = (question: string) =>
  `Question: ${question}\nIf you want to answer the question, which objects' information do you need?`;
const CUES = /So I need the information about the following objects: (.+)/;
/** The published six examples for V*: question, what must be located, and the objects. */
const EXAMPLES: readonly [string, string, string][] = [
  [
    "What is the color of the boy's bag?",
    'the boy with a bag so that I can determine the color of the bag',
    'boy with a bag.',
  ],
  [
    'Is the yellow car on the left or right side of the white car?',
    'the yellow car and the white car so that I can determine the positional relationship between the two of them',
    'white car and yellow car.',
  ],
  [
    'Tell me the number on the black board.',
    'the black board so that I can determine the number on it',
    'black board',
  ],
  [
    'Is the girl with pink hair on the left or right side of the man with backpack?',
    'the girl with pink hair and the man with backpack so that I can determine the positional relationship between the two of them',
    'girl with pink hair and man with backpack.',
  ],
  [
    'What kind of animal is on the red sign?',
    'the red sign so that I can determine the kind of animal on it',
    'red sign.',
  ],
  [
    'From the information on that advertising board, what is the type of this shop?',
    'the advertising board so that I can determine the type of the shop',
    'advertising board.',
  ],
];
/** Stands in for the part-of-speech tagger that the published code drops cues such as "his bag" with. */
const PRONOUN =
  /\b(?:i|me|my|mine|you|your|yours|he|him|his|she|her|hers|it|its|we|us|our|ours|they|them|their|theirs|this|that|these|those|who|whom|whose|which|what|someone|something|anyone|anything|everyone|everything|one)\b/i;

const PROMPTS = {
  whole: {
    latent: (cue: string) =>
      `According to your common sense knowledge and the content of image, is it possible to find a ${cue} by further zooming in the image? Answer Yes or No and tell the reason.`,
    existence: (cue: string) => `Is there a ${cue} in the image? Answer Yes or No.`,
  },
  zoomed: {
    latent: (cue: string) =>
      `According to your common sense knowledge and the content of the zoomed-in view, along with its location in the image, is it possible to find a ${cue} by further zooming in the current view? Answer Yes or No and tell the reason.`,
    existence: (cue: string) => `Is there a ${cue} in the zoomed-in view? Answer Yes or No.`,
  },
};
const answering = (question: string) =>
  `Question: ${question}\nCould you answer the question based on the the available visual information? Answer Yes or No.`;

/** A node of the image tree: a region and how deep it lies. */
type Node = { region: Box; depth: number; children: Node[]; answering: number };

/** Divides in four (side by side where one side is twice the other) until the longer side is below {@link VIEW}. */
function tree(region: Box, depth = 0): Node {
  const [width, height] = [region.x2 - region.x1, region.y2 - region.y1];
  const node: Node = { region, depth, children: [], answering: -1 };
  if (Math.max(width, height) < VIEW) return node;
  const [across, down] = height / width >= 2 ? [1, 4] : height / width <= 0.5 ? [4, 1] : [2, 2];
  const [stepX, stepY] = [Math.floor(width / across), Math.floor(height / down)];
  for (let row = 0; row < down; row++)
    for (let column = 0; column < across; column++) {
      const x1 = region.x1 + column * stepX;
      const y1 = region.y1 + row * stepY;
      const x2 = column === across - 1 ? region.x2 : x1 + stepX;
      const y2 = row === down - 1 ? region.y2 : y1 + stepY;
      node.children.push(tree({ x1, y1, x2, y2, label: '' }, depth + 1));
    }
  return node;
}

const depthOf = (node: Node): number => Math.max(node.depth, ...node.children.map(depthOf));

/** What is shown of a region: at least a view's side, a fifth larger, inside the image. */
function patch({ x1, y1, x2, y2 }: Box, { width, height }: Size): Box {
  const across = Math.floor(Math.max(x2 - x1, VIEW) * PATCH_SCALE);
  const down = Math.floor(Math.max(y2 - y1, VIEW) * PATCH_SCALE);
  const left = Math.max(0, Math.floor((x1 + x2) / 2) - Math.floor(across / 2));
  const top = Math.max(0, Math.floor((y1 + y2) / 2) - Math.floor(down / 2));
  return {
    x1: left,
    y1: top,
    x2: Math.min(left + across, width),
    y2: Math.min(top + down, height),
    label: '',
  };
}

function union(a: Box, b: Box): Box {
  return {
    x1: Math.min(a.x1, b.x1),
    y1: Math.min(a.y1, b.y1),
    x2: Math.max(a.x2, b.x2),
    y2: Math.max(a.y2, b.y2),
    label: '',
  };
}

/** Near boxes joined until none are near. */
function merged(boxes: readonly Box[]): Box[] {
  const list = [...boxes];
  for (let i = 0; i < list.length; i++)
    for (let j = i + 1; j < list.length; j++) {
      const [a, b] = [list[i], list[j]];
      if (a === undefined || b === undefined) continue;
      const apart = Math.max(b.x1 - a.x2, a.x1 - b.x2, b.y1 - a.y2, a.y1 - b.y2);
      if (apart >= MERGE_DISTANCE) continue;
      list.splice(j, 1);
      list[i] = union(a, b);
      i = -1;
      break;
    }
  return list;
}

/** What is shown of a region; `zoomed` where it is not the whole image. */
type View = { parts: Part[]; zoomed: boolean };

/** Views kept: those of four siblings and of the node before them. */
const KEPT_VIEWS = 5;

/** The model's eyes in one question: what it is shown of regions, and how sure it is of "Yes". */
class Viewer {
  readonly #context: StrategyContext;
  /** Replies in which "Yes" or "No" was not among the candidates. */
  missing = 0;

  constructor(context: StrategyContext) {
    this.#context = context;
  }

  /** Views of the nodes asked about last; each is asked about more than once. */
  readonly #views = new Map<Node, Promise<View>>();
  /** Views are made one after another: few pixels at once, and requests in an order that does not depend on how long each took. */
  #making: Promise<unknown> = Promise.resolve();

  /** Images with their introduction: the whole image, or the whole with red frames and the part inside them. */
  view(regions: readonly Node[], small = false): Promise<View> {
    const view = this.#making.then(() => this.#make(regions, small));
    this.#making = view.catch(() => undefined);
    return view;
  }

  #viewOf(node: Node): Promise<View> {
    const view = this.#views.get(node) ?? this.view([node]);
    this.#views.set(node, view);
    for (const oldest of this.#views.keys()) {
      if (this.#views.size <= KEPT_VIEWS) break;
      this.#views.delete(oldest);
    }
    return view;
  }

  async #make(regions: readonly Node[], small: boolean): Promise<View> {
    const { size } = this.#context.question;
    const longest = Math.max(size.width, size.height);
    const budget = Math.floor((size.width * size.height * VIEW ** 2) / longest ** 2);
    const shrunk = { ...RULES, name: 'zoom-eye-whole', wholeImagePixels: Math.max(RULES.minPixels, budget) };
    if (regions.length === 0 || regions.some(({ depth }) => depth === 0))
      return { parts: [await this.#context.whole(small ? shrunk : RULES), ''], zoomed: false };
    const patches = merged(regions.map(({ region }) => patch(region, size)));
    const framed = {
      ...shrunk,
      colours: RED,
      lineWidth: { fraction: longest / 120 / size.width, minPixels: 1 },
    };
    const shown = patches.reduce(union);
    const crop = await this.#context.crop(shown, RULES);
    if (crop === null) return { parts: [await this.#context.whole(RULES), ''], zoomed: false };
    return {
      parts: [
        await this.#context.framed(patches, framed),
        'This is the main image, and the section enclosed by the red rectangle is the focus region.\n',
        crop,
        'This is the zoomed-in view of the focus region.\n',
      ],
      zoomed: true,
    };
  }

  /** How much more likely "Yes" is than "No" as the first token, -1 to 1. */
  async confidence(node: Node, prompt: (zoomed: boolean) => string, small = false): Promise<number> {
    const { parts, zoomed } = await (small ? this.view([node], true) : this.#viewOf(node));
    const reply = await this.#context.ask({
      to: 'reasoner',
      messages: [{ role: 'user', parts: ended(parts, prompt(zoomed)) }],
      decoding: { max_tokens: 1, temperature: 0, top_logprobs: 20 },
    });
    const candidates = reply.firstToken;
    if (candidates === undefined || candidates.length === 0)
      throw new StrategyUnfit(
        'zoom-eye',
        'needs the log-probabilities of tokens, and the endpoint sends none',
      );
    // A word that is not among the candidates is at most as likely as the last of them.
    const floor = Math.min(...candidates.map(({ logprob }) => logprob));
    const [yes, no] = ['Yes', 'No'].map((word) => candidates.find(({ token }) => token === word)?.logprob);
    if (yes === undefined || no === undefined) this.missing++;
    return 2 / (1 + Math.exp((no ?? floor) - (yes ?? floor))) - 1;
  }
}

/** Parts with a text at their end, joined to the last text. */
function ended(parts: readonly Part[], text: string): Part[] {
  const last = parts.at(-1);
  return typeof last === 'string' ? [...parts.slice(0, -1), last + text] : [...parts, text];
}

/** Where a cue is: best first through the tree, until the question can be answered from a node. */
async function findOne(
  viewer: Viewer,
  root: Node,
  cue: string,
  { question, single }: { question: string; single: boolean },
): Promise<Node | null> {
  const most = Math.min(depthOf(root), DEPTH_LIMIT);
  const priorities = new Map<Node, number>();
  const priority = async (node: Node) => {
    const known = priorities.get(node);
    if (known !== undefined) return known;
    const prompts = (zoomed: boolean) => (zoomed ? PROMPTS.zoomed : PROMPTS.whole);
    const existence = await viewer.confidence(node, (zoomed) => prompts(zoomed).existence(cue));
    const latent = await viewer.confidence(node, (zoomed) => prompts(zoomed).latent(cue));
    const weight = ((1 - BIAS) / most ** 2) * node.depth ** 2 + BIAS;
    const value = existence * weight + latent * (1 - weight);
    priorities.set(node, value);
    return value;
  };
  const queue = [root];
  const visited: Node[] = [];
  const found: Node[] = [];
  const decreases = [...DECREASES];
  let [upper, limit, bottom] = [UPPER, 3 * most, false];
  for (let node = queue.shift(); node !== undefined; node = queue.shift()) {
    visited.push(node);
    node.answering = await viewer.confidence(node, () => answering(question));
    if (node.answering >= upper) {
      found.push(node);
      if (single || bottom) break;
    } else if (visited.length >= limit) {
      upper -= decreases[0] ?? 0;
      if (decreases.length > 1) decreases.shift();
      limit += 2;
      const best = visited.reduce((a, b) => (b.answering > a.answering ? b : a));
      if (best.answering >= upper) {
        found.push(best);
        break;
      }
      if (upper < LOWER) break;
    }
    if (node.children.length === 0 || node.depth === most) {
      bottom = true;
      if (!single && found.length > 0) break;
    } else queue.push(...node.children);
    const order = await Promise.all(queue.map(async (one) => ({ one, value: await priority(one) })));
    queue.splice(0, queue.length, ...order.sort((a, b) => b.value - a.value).map(({ one }) => one));
  }
  return found.reduce<Node | null>(
    (deepest, node) => (deepest && deepest.depth >= node.depth ? deepest : node),
    null,
  );
}

/** Every place of a cue: nodes at least as sure of it as their children are. */
async function findAll(viewer: Viewer, node: Node, cue: string): Promise<{ best: number; found: Node[] }> {
  const below =
    node.depth < ALL_DEPTH
      ? await Promise.all(node.children.map((child) => findAll(viewer, child, cue)))
      : [];
  const best = Math.max(-1, ...below.map((child) => child.best));
  const own = await viewer.confidence(node, (zoomed) =>
    (zoomed ? PROMPTS.zoomed : PROMPTS.whole).existence(cue),
  );
  const found = below.flatMap((child) => child.found);
  return {
    best: Math.max(best, own),
    found: own >= Math.max(best, ALL_THRESHOLD) ? [...found, node] : found,
  };
}

/**
 * ZoomEye: a search over a tree of regions, led by how sure the model is of "Yes". It needs an endpoint that sends log-probabilities.
 * The answer is written as a letter, also for V*, where the published code compares the likelihoods of the options' texts; sibling nodes
 * are weighed at once rather than one by one, and the four orders of an HR-Bench question are searched separately.
 */
export const zoomEye: Strategy = {
  name: 'zoom-eye',
  version: 1,
  title: 'ZoomEye',
  budget: { calls: 2000, completionTokens: 16_384 },
  async run(context) {
    const { question } = context;
    const viewer = new Viewer(context);
    const root = tree(wholeRegion(question.size));
    const cueReply = await context.ask({
      to: 'reasoner',
      messages: [
        ...EXAMPLES.flatMap(([asked, located, objects]) => [
          { role: 'user' as const, parts: [cueQuestion(asked)] },
          {
            role: 'assistant' as const,
            parts: [
              `To answer the question, I need know the location of ${located}. So I need the information about the following objects: ${objects}`,
            ],
          },
        ]),
        { role: 'user', parts: [cueQuestion(question.stem)] },
      ],
      decoding: { max_tokens: 256, temperature: 0 },
    });
    const named =
      CUES.exec(cueReply.text)?.[1]
        ?.replace(/\.$/, '')
        .split(/ and |, /) ?? [];
    const cues = named.filter((cue) => cue.trim() !== '' && !PRONOUN.test(cue));
    const appearance = (cue: string) => `What is the appearance of the ${cue}?`;
    const seen = async (cue: string) =>
      !cue.startsWith('all ') &&
      (await viewer.confidence(root, () => answering(appearance(cue)), true)) >= UPPER;
    // Where the small whole image is enough for one of several cues, the question is answered from the whole.
    const enough = cues.length > 1 && (await Promise.all(cues.map(seen))).includes(true);
    const nodes: Node[] = [];
    for (const cue of enough ? [] : cues) {
      if (cue.startsWith('all '))
        nodes.push(...(await findAll(viewer, root, cue.slice(4).replace(/s$/, ''))).found);
      else {
        const single = cues.length === 1;
        const asked = single ? question.stem : appearance(cue);
        const node = await findOne(viewer, tree(wholeRegion(question.size)), cue, {
          question: asked,
          single,
        });
        if (node !== null) nodes.push(node);
      }
    }
    const options = question.options.map((option, index) => `${letterAt(index)}. ${option}\n`).join('');
    const text =
      question.options.length === 0
        ? question.text
        : `${question.stem}\n${options}Answer the option letter directly.`;
    const { parts } = await viewer.view(nodes);
    const reply = await context.ask({
      to: 'reasoner',
      messages: [{ role: 'user', parts: ended(parts, text) }],
      decoding: { max_tokens: 256, temperature: 0 },
    });
    return {
      text: reply.text,
      stop: 'answered',
      boxes: nodes.map(({ region }) => region),
      notes: { cues: cues.length, ...(viewer.missing > 0 ? { yes_no_missing: viewer.missing } : {}) },
    };
  },
};
