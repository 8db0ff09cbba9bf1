/** Judges completions one by one and remembers every verdict under its content key. */
import pLimit from 'p-limit';
import { z } from 'zod';
import type { ExtractorName } from '../../method/answers.ts';
import { directReward, perceiverReward, reasonerReward } from '../../method/rewards.ts';
import { JsonLinesWriter, readJsonLines } from '../../store/files.ts';
import { contentKey } from '../../store/keys.ts';
import type { Sample } from '../../store/samples.ts';
import { boxRows, perceptionMetrics, verdict } from '../judging.ts';
import type { Roles } from '../roles.ts';
import type { RewardLoad } from './config.ts';

/** A completion that an engine wants judged. */
export const Completion = z.object({
  sample_id: z.string(),
  rollout: z.int().min(0),
  text: z.string().max(1_000_000),
});
export type Completion = z.infer<typeof Completion>;

/** What was seen while judging, as it is stored and sent to the engine. */
export const Judgement = z.object({
  key: z.string(),
  sample_id: z.string(),
  reward: z.number(),
  terms: z.record(z.string(), z.number()),
  metrics: z.record(z.string(), z.number().nullable()),
  boxes: z.array(z.array(z.number()).length(4)),
  reasoner_text: z.string().nullable(),
  extracted_answer: z.string().nullable(),
  correct: z.boolean(),
});
export type Judgement = z.infer<typeof Judgement>;

/** A completion names a sample that is not in the phase's dataset. */
export class UnknownSampleError extends Error {
  constructor(id: string) {
    super(`Sample "${id.slice(0, 100)}" is not in this phase's dataset.`);
    this.name = 'UnknownSampleError';
  }
}

export type JudgeOptions = {
  role: 'perceiver' | 'reasoner' | 'direct';
  samples: Sample[];
  /** Everything besides sample and text that decides a verdict: frozen checkpoint, prompts, image rules, extractor. */
  context: string;
  /** Box metrics of the reasoner phase's fixed evidence, by sample id. */
  perceptions: Map<string, { text: string }>;
  extractor: ExtractorName;
  roles: Pick<Roles, 'evidence' | 'imageRules' | 'reason'>;
  /** Judgements of earlier runs; new ones are appended to the first. */
  files: string[];
  concurrency: number;
};

/** Of the direct baseline, which draws no boxes. */
const NO_PERCEPTION = {
  boxes: [],
  metrics: { hit_rate: null, iou: null, box_count: null, box_size: null },
};

/** The judge of one phase. The same completion always gets the verdict it got first, also after a restart. */
export class Judge {
  readonly #options: JudgeOptions;
  readonly #samples: Map<string, Sample>;
  readonly #known: Map<string, Judgement>;
  readonly #pending = new Map<string, Promise<Judgement>>();
  readonly #writer: JsonLinesWriter;
  readonly #limit: ReturnType<typeof pLimit>;
  #judged = 0;

  private constructor(options: JudgeOptions, known: Judgement[]) {
    this.#options = options;
    this.#samples = new Map(options.samples.map((sample) => [sample.sample_id, sample]));
    this.#known = new Map(known.map((judgement) => [judgement.key, judgement]));
    const [own] = options.files;
    if (own === undefined) throw new TypeError('A judge needs a file to write to.');
    this.#writer = new JsonLinesWriter(own);
    this.#limit = pLimit(options.concurrency);
  }

  /** Opens the judge with what earlier runs have judged. */
  static async open(options: JudgeOptions): Promise<Judge> {
    const known = await Promise.all(options.files.map((file) => readJsonLines(file, Judgement)));
    return new Judge(options, known.flat());
  }

  /** What it has to do at the moment, and has done. */
  get load(): RewardLoad {
    return {
      running: this.#limit.activeCount,
      waiting: this.#limit.pendingCount,
      judged: this.#judged,
    };
  }

  /** Judges one completion. Rejects (RoleUnavailableError, UnknownSampleError) rather than guess. */
  async judge(completion: Completion): Promise<Judgement> {
    const sample = this.#samples.get(completion.sample_id);
    if (sample === undefined) throw new UnknownSampleError(completion.sample_id);
    const key = contentKey('judgement', {
      context: this.#options.context,
      sample: sample.sample_id,
      text: completion.text,
    });
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const pending = this.#pending.get(key);
    if (pending !== undefined) return pending;
    const work = this.#limit(() => this.#compute(key, sample, completion.text));
    this.#pending.set(key, work);
    try {
      const judgement = await work;
      await this.#writer.append(judgement);
      this.#known.set(key, judgement);
      this.#judged++;
      return judgement;
    } finally {
      this.#pending.delete(key);
    }
  }

  async #compute(key: string, sample: Sample, text: string): Promise<Judgement> {
    const { role, roles, extractor } = this.#options;
    const perceiverText = this.#perceiverText(sample, text);
    const { boxes, metrics } =
      perceiverText === null ? NO_PERCEPTION : perceptionMetrics(sample, perceiverText, roles.imageRules);
    const reasonerText =
      role === 'perceiver' ? await roles.reason(sample, await roles.evidence(sample, text)) : null;
    const { answer, correct } = verdict(extractor, sample, reasonerText ?? text);
    const judged = { status: 'judged', correct } as const;
    const reward =
      role === 'perceiver'
        ? perceiverReward({ boxes, verdict: judged })
        : role === 'reasoner'
          ? reasonerReward(judged)
          : directReward(judged);
    if (reward.status !== 'scored') throw new Error(reward.reason);
    return {
      key,
      sample_id: sample.sample_id,
      reward: reward.reward,
      terms: reward.terms,
      metrics,
      boxes: boxRows(boxes),
      reasoner_text: reasonerText,
      extracted_answer: answer,
      correct,
    };
  }

  /** The words whose boxes count: the completion's own, the fixed evidence's in the reasoner phase, none of the direct baseline. */
  #perceiverText(sample: Sample, text: string): string | null {
    const { role, perceptions } = this.#options;
    if (role === 'direct') return null;
    return role === 'perceiver' ? text : (perceptions.get(sample.sample_id)?.text ?? '');
  }
}
