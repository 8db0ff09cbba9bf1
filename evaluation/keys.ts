/** Content keys of predictions and replies. */
import { createHash } from 'node:crypto';
import type { Item } from '../benchmarks/item.ts';
import { imageRulesKey } from '../method/images.ts';
import { promptSetKey } from '../method/prompts.ts';
import type { Request, Strategy, StrategySettings } from '../method/strategies/strategy.ts';
import { canonicalJson, contentKey } from '../store/keys.ts';

/** Which weights answer in which role, as text that changes when they do. */
export type Fingerprints = { perceiver: string; reasoner: string };

/** Everything of the settings that decides a request. */
export function settingsContent(settings: StrategySettings) {
  return {
    prompts: promptSetKey(settings.promptSet),
    images: imageRulesKey(settings.imageRules),
    perceiver_max_tokens: settings.perceiverMaxTokens,
    reasoner_max_tokens: settings.reasonerMaxTokens,
    temperature: settings.temperature,
    repetition_penalty: settings.repetitionPenalty ?? null,
  };
}

/** Key of one strategy's prediction on one question. The true boxes count only where the strategy sees them. */
export function predictionKey(input: {
  strategy: Strategy;
  settings: StrategySettings;
  models: Fingerprints;
  item: Item;
  imageSha256: string;
  repeat: number;
}): string {
  const { strategy, settings, models, item, imageSha256, repeat } = input;
  return contentKey('prediction', {
    strategy: `${strategy.name}@${strategy.version}`,
    settings: settingsContent(settings),
    models,
    question: item.question,
    stem: item.stem,
    options: item.options,
    form: item.form,
    sentence: item.sentence ?? false,
    truth: strategy.usesTruth ? item.truth : null,
    image: imageSha256,
    repeat,
  });
}

/** Key of a reply: the messages with their images' hashes, the decoding and the model. */
export function callKey(request: Request, models: Fingerprints): string {
  const messages = request.messages.map(({ role, parts }) => ({
    role,
    parts: parts.map((part) =>
      typeof part === 'string'
        ? { text: part }
        : { image: createHash('sha256').update(part.bytes).digest('hex') },
    ),
  }));
  return createHash('sha256')
    .update(canonicalJson({ messages, decoding: request.decoding, model: models[request.to] }))
    .digest('hex');
}

/** Repeatable random numbers in [0, 1) from a text (sha256 of the text and a counter). */
export function randomFrom(seed: string): () => number {
  let count = 0;
  return () => {
    const digest = createHash('sha256').update(`${seed}:${count++}`).digest();
    return digest.readUInt32BE(0) / 2 ** 32;
  };
}
