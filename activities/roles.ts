/** The frozen model in its two roles during training, behind any OpenAI-compatible server. */
import { readFile } from 'node:fs/promises';
import OpenAI from 'openai';
import { z } from 'zod';
import { type Box, parseBoxes } from '../method/boxes.ts';
import { DecodedImages } from '../method/decoded-images.ts';
import { type ImageRules, prepareEvidence, prepareWhole } from '../method/images.ts';
import { type PROMPT_SETS, renderPrompt } from '../method/prompts.ts';
import { readJson } from '../store/files.ts';
import { answerForm, type Sample } from '../store/samples.ts';
import { Replicas } from './replicas.ts';
import { SleepingServers } from './sleeping.ts';

/** Contents of an endpoint file: written when a server is ready, rewritten when it has moved. */
export const Endpoint = z.object({
  url: z.string(),
  /** All servers of the model, `url` among them; absent when there is one. */
  urls: z.array(z.string()).min(1).optional(),
  model: z.string(),
  token: z.string(),
  /** Given when the servers sleep without requests and must be woken before one. */
  sleep_seconds: z.number().positive().optional(),
});
export type Endpoint = z.infer<typeof Endpoint>;

/** The server could not answer; nothing may be concluded about the sample. */
export class RoleUnavailableError extends Error {
  constructor(what: string, cause: unknown) {
    super(`${what}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
    this.name = 'RoleUnavailableError';
  }
}

/** Evidence for the reasoner: what it is shown beside the question (first the whole image, then crops). */
export type Evidence = { images: Buffer[]; boxes: Box[]; hasBoxes: boolean };

export type RoleOptions = {
  /** File with the {@link Endpoint}; read again before every request, so that a restarted server is found. */
  endpointFile: string;
  promptSet: keyof typeof PROMPT_SETS;
  imageRules: ImageRules;
  perceiverMaxTokens: number;
  reasonerMaxTokens: number;
};

/** Prompt and images of one question for one role, in the order the model is shown them. */
export function renderRole(
  promptSet: keyof typeof PROMPT_SETS,
  role: 'perceiver' | 'reasoner' | 'direct',
  sample: Sample,
  hasBoxes: boolean,
) {
  return renderPrompt({
    set: promptSet,
    role: role === 'reasoner' && !hasBoxes ? 'no-evidence' : role,
    question: sample.question,
    answerForm: answerForm(sample),
  });
}

/** Both roles over one endpoint. Greedy decoding (temperature 0), as the paper evaluates. */
export class Roles {
  readonly #options: RoleOptions;
  readonly #decoded = new DecodedImages();
  readonly #replicas = new Replicas();
  readonly #sleeping = new SleepingServers();

  constructor(options: RoleOptions) {
    this.#options = options;
  }

  /** The rules by which images are annotated, cropped and resized. */
  get imageRules(): ImageRules {
    return this.#options.imageRules;
  }

  /** Boxes in the perceiver's own words. Throws {@link RoleUnavailableError}. */
  async perceive(sample: Sample): Promise<string> {
    const { promptSet, imageRules, perceiverMaxTokens } = this.#options;
    const image = await prepareWhole(await this.#decode(sample), imageRules);
    return this.#ask(renderRole(promptSet, 'perceiver', sample, false), [image], perceiverMaxTokens);
  }

  /** The images a reasoner is shown for the perceiver's text: annotated whole and at most three crops. */
  async evidence(sample: Sample, perceiverText: string): Promise<Evidence> {
    const { boxes } = parseBoxes(perceiverText, sample);
    const decoded = await this.#decode(sample);
    const { annotated, crops } = await prepareEvidence(decoded, boxes, this.#options.imageRules);
    return { images: [annotated, ...crops], boxes, hasBoxes: crops.length > 0 };
  }

  /** The reasoner's answer from evidence. Throws {@link RoleUnavailableError}. */
  async reason(sample: Sample, evidence: Evidence): Promise<string> {
    const prompt = renderRole(this.#options.promptSet, 'reasoner', sample, evidence.hasBoxes);
    return this.#ask(prompt, evidence.images, this.#options.reasonerMaxTokens);
  }

  async #decode(sample: Sample) {
    return this.#decoded.get(sample.image, this.#options.imageRules, () => readFile(sample.image));
  }

  async #ask(prompt: { system: string; user: string }, images: Buffer[], maxTokens: number): Promise<string> {
    const endpoint = await readJson(this.#options.endpointFile, Endpoint).catch(() => null);
    if (endpoint === null)
      throw new RoleUnavailableError('the model server is not ready', this.#options.endpointFile);
    try {
      const ask = (baseURL: string) =>
        new OpenAI({
          baseURL,
          apiKey: endpoint.token,
          maxRetries: 0,
          timeout: 300_000,
        }).chat.completions.create({
          model: endpoint.model,
          temperature: 0,
          max_tokens: maxTokens,
          messages: [
            { role: 'system', content: prompt.system },
            {
              role: 'user',
              content: [
                ...images.map((image) => ({
                  type: 'image_url' as const,
                  image_url: { url: dataUrl(image) },
                })),
                { type: 'text' as const, text: prompt.user },
              ],
            },
          ],
        });
      const { sleep_seconds: idle } = endpoint;
      const completion = await this.#replicas.run(endpoint.urls ?? [endpoint.url], (url) =>
        idle === undefined ? ask(url) : this.#sleeping.run(url, idle, () => ask(url)),
      );
      const text = completion.choices[0]?.message.content;
      if (typeof text !== 'string') throw new Error('the answer holds no text');
      return text;
    } catch (error) {
      throw new RoleUnavailableError(`the model server at ${endpoint.url} did not answer`, error);
    }
  }
}

function dataUrl(image: Buffer): string {
  const type = image[0] === 0x89 ? 'png' : 'jpeg';
  return `data:image/${type};base64,${image.toString('base64')}`;
}
