/** What the options of `p2r eval` name: strategies, extractor, prompts, image rules, judge. Throws UserErrors that list what there is. */
import type { Endpoint } from '../evaluation/endpoint.ts';
import { IMAGE_RULES, type ImageRulesName } from '../method/images.ts';
import { PROMPT_SETS, type PromptSetName } from '../method/prompts.ts';
import { STRATEGIES, strategyNamed, UNAVAILABLE } from '../method/strategies/index.ts';
import type { Strategy, StrategySettings } from '../method/strategies/strategy.ts';
import { UserError } from './errors.ts';
import type { EvalOptions } from './eval-command.ts';

/** Names of a record as a choice of the user; throws a UserError that lists them. */
export function chosen<Name extends string>(
  what: string,
  name: string,
  known: Readonly<Record<Name, unknown>>,
): Name {
  if (!Object.hasOwn(known, name))
    throw new UserError(`${what} "${name}" is not known; there are: ${Object.keys(known).join(', ')}.`);
  return name as Name;
}

/** Strategies by their names, with commas between. */
export function chosenStrategies(names: string): Strategy[] {
  return [...new Set(names.split(',').map((name) => name.trim()))].map((name) => {
    const strategy = strategyNamed(name);
    if (strategy !== undefined) return strategy;
    throw new UserError(
      UNAVAILABLE[name] ??
        `The strategy "${name}" is not known; there are: ${STRATEGIES.map((known) => known.name).join(', ')}.`,
    );
  });
}

/** The judge's endpoint; null where none was named. */
export function judgeOf({ judgeBaseUrl, judgeModel }: EvalOptions): Endpoint | null {
  if (judgeBaseUrl === undefined && judgeModel === undefined) return null;
  if (judgeBaseUrl === undefined || judgeModel === undefined)
    throw new UserError('A judge needs both --judge-base-url and --judge-model.');
  return { url: judgeBaseUrl, model: judgeModel, token: process.env.P2R_JUDGE_TOKEN ?? 'none' };
}

/** Prompts, image rules, lengths and temperature; what is not said depends on whether needle scenes are asked about. */
export function settingsOf(options: EvalOptions, needle: boolean): StrategySettings {
  const promptSet: PromptSetName = chosen(
    'The prompt set',
    options.promptSet ?? (needle ? 'paper' : 'authors-evaluation'),
    PROMPT_SETS,
  );
  const rules: ImageRulesName = chosen(
    'The image rules',
    options.imageRules ?? (needle ? 'tiny' : 'paper-evaluation'),
    IMAGE_RULES,
  );
  if (options.repeats > 1 && options.temperature === 0)
    throw new UserError('--repeats above 1 needs a --temperature: greedy answers are all the same.');
  return {
    promptSet,
    imageRules: IMAGE_RULES[rules],
    perceiverMaxTokens: options.perceiverMaxTokens ?? (needle ? 130 : 256),
    reasonerMaxTokens: options.maxTokens ?? (needle ? 60 : 1024),
    temperature: options.temperature,
    ...(options.repetitionPenalty === undefined ? {} : { repetitionPenalty: options.repetitionPenalty }),
  };
}
