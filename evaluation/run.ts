/** Runs strategies over a benchmark against endpoints: every question ends as a stored prediction, or as missing with a reason. */
import { createHash } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Benchmark, BenchmarkError, type Item } from '../benchmarks/item.ts';
import { type ScoringRules, scoreRow } from '../benchmarks/scoring.ts';
import { ImageError } from '../method/images.ts';
import {
  BudgetSpent,
  type ModelRole,
  type Outcome,
  type Reply,
  type Request,
  type Strategy,
  type StrategyContext,
  type StrategySettings,
} from '../method/strategies/strategy.ts';
import { readJsonLines, writeFileAtomic, writeJson } from '../store/files.ts';
import type { Store } from '../store/layout.ts';
import {
  AppendLog,
  CallRow,
  type ItemRow,
  type Manifest,
  noCost,
  PredictionRow,
  predictionFiles,
  type RunRow,
} from '../store/predictions.ts';
import { Agenda } from './agenda.ts';
import { type Endpoint, RequestFailed, send } from './endpoint.ts';
import { Images } from './images.ts';
import { callKey, type Fingerprints, predictionKey, randomFrom, settingsContent } from './keys.ts';
import { Slots } from './slots.ts';

/** What to run. */
export type EvaluationPlan = {
  /** Directory below the home's `evaluations`. */
  key: string;
  benchmark: Benchmark;
  strategies: readonly Strategy[];
  settings: StrategySettings;
  /** Answers per question and strategy; more than one only makes sense with a temperature above 0. */
  repeats: number;
  models: Fingerprints;
  labels: { perceiver: string; reasoner: string };
  /** What predictions are judged by as they come in; scoring may use others. */
  rules: ScoringRules;
};

/** How to run it; nothing here changes a result. */
export type RunOptions = {
  store: Store;
  /** Gives every request its endpoint, so that a server that has moved is found. Rejects with RequestFailed where there is none. */
  at: <T>(role: ModelRole, request: (endpoint: Endpoint) => Promise<T>) => Promise<T>;
  /** Most requests at once. */
  concurrency: number;
  /** Milliseconds until a silent request is given up and tried again. */
  timeout: number;
  /** Tries after the first before a question is left as missing. */
  retries: number;
  /** First pause between tries in milliseconds; doubles up to `slowestRetry`. */
  retryDelay: number;
  slowestRetry: number;
  /** Failed requests in a row, without a single reply, after which the endpoint counts as down. */
  patience: number;
  signal?: AbortSignal;
};

/** Where a run stands. Tokens and requests are those of this run, not of what was found on disk. */
export type Progress = {
  /** Predictions to bring; null while the benchmark is still being read. */
  expected: number | null;
  known: number;
  reused: number;
  done: number;
  missing: number;
  underWay: number;
  requests: number;
  failedRequests: number;
  replayed: number;
  promptTokens: number;
  completionTokens: number;
  busy: number;
  slots: number;
  seconds: number;
};

/** A prediction that could not be made. */
export type Missing = { item: string; strategy: string; repeat: number; reason: string };

/** What a run ends with. `missing` is empty when every prediction is on disk. */
export type RunResult = { missing: Missing[]; notApplicable: Record<string, number>; progress: Progress };

/** The endpoint answered nothing for so long that going on is of no use. */
export class EndpointDown extends Error {
  constructor(detail: string) {
    super(
      `The endpoint is down (${detail}); start it and run the same command again: nothing is asked twice.`,
    );
    this.name = 'EndpointDown';
  }
}

/** Questions begun beyond the slots, whose images are prepared while others are being answered. */
const AHEAD = 8;
/** Milliseconds for which only one question is begun, so that questions about one image can be found before their turn comes. */
const LEAD = 500;
/** Questions known but not begun, at which reading the benchmark pauses. */
const KNOWN_AHEAD = 20_000;

type Task = { item: Item; strategy: Strategy; repeat: number; key: string };

/** One run. Call {@link EvaluationRun.run} once; {@link EvaluationRun.progress} may be read meanwhile. */
export class EvaluationRun {
  readonly #plan: EvaluationPlan;
  readonly #options: RunOptions;
  readonly #images = new Images();
  readonly #slots: Slots;
  readonly #agenda = new Agenda<Task>();
  readonly #abort = new AbortController();
  readonly #missing: Missing[] = [];
  readonly #notApplicable: Record<string, number> = {};
  readonly #replies = new Map<string, CallRow>();
  readonly #asking = new Map<string, Promise<CallRow>>();
  readonly #calls: AppendLog<CallRow>;
  readonly #predictions: AppendLog<PredictionRow>;
  readonly #started = performance.now();
  readonly #counts = {
    known: 0,
    reused: 0,
    done: 0,
    underWay: 0,
    requests: 0,
    failedRequests: 0,
    replayed: 0,
    promptTokens: 0,
    completionTokens: 0,
  };
  #failedInARow = 0;
  /** Questions that wait for a reply another question has asked for: they need no slot. */
  #sharing = 0;
  #read = false;
  #fatal: unknown;
  #wake: () => void = () => undefined;

  constructor(plan: EvaluationPlan, options: RunOptions) {
    this.#plan = plan;
    this.#options = options;
    this.#slots = new Slots(options.concurrency);
    setMaxListeners(0, this.#abort.signal);
    const files = predictionFiles(options.store, plan.key);
    this.#calls = new AppendLog(files.calls);
    this.#predictions = new AppendLog(files.predictions);
  }

  /** Where the run stands now. */
  get progress(): Progress {
    return {
      ...this.#counts,
      expected: this.#read ? this.#counts.known : null,
      missing: this.#missing.length,
      busy: this.#slots.busy,
      slots: this.#slots.limit,
      seconds: (performance.now() - this.#started) / 1000,
    };
  }

  /**
   * Brings every prediction that is not on disk yet, and writes the manifest when the benchmark has been read to its end.
   * @throws BenchmarkError when the benchmark's file is wrong; RequestFailed `misconfigured`; EndpointDown; the signal's reason; the
   *   system's error when the disk is full. What has been answered until then is kept.
   */
  async run(): Promise<RunResult> {
    const { signal } = this.#options;
    const stop = () => this.#stop(signal?.reason);
    if (signal?.aborted) stop();
    signal?.addEventListener('abort', stop, { once: true });
    try {
      const done = await this.#load();
      await Promise.all([
        this.#readBenchmark(done).catch((error: unknown) => this.#stop(error)),
        this.#work(),
      ]);
      if (this.#fatal !== undefined) throw this.#fatal;
      await this.#recordRun();
      return { missing: this.#missing, notApplicable: this.#notApplicable, progress: this.progress };
    } finally {
      signal?.removeEventListener('abort', stop);
      await Promise.all([this.#calls.close(), this.#predictions.close()]);
    }
  }

  async #recordRun(): Promise<void> {
    const { seconds, done, reused, missing, requests, failedRequests } = this.progress;
    const row: RunRow = {
      ended_at: new Date().toISOString(),
      seconds,
      done,
      reused,
      missing,
      requests,
      failed_requests: failedRequests,
      concurrency: this.#slots.most,
    };
    const log = new AppendLog<RunRow>(predictionFiles(this.#options.store, this.#plan.key).runs);
    await log.append(row);
    await log.close();
  }

  #stop(reason: unknown): void {
    this.#fatal ??= reason ?? new Error('The run was stopped.');
    this.#abort.abort(this.#fatal);
    this.#wake();
  }

  /** Keys of the predictions on disk; the replies on disk serve whoever asks the same. */
  async #load(): Promise<Set<string>> {
    const files = predictionFiles(this.#options.store, this.#plan.key);
    const done = new Set((await readJsonLines(files.predictions, PredictionRow)).map(({ key }) => key));
    for (const row of await readJsonLines(files.calls, CallRow)) this.#replies.set(row.key, row);
    return done;
  }

  async #readBenchmark(done: Set<string>): Promise<void> {
    const { benchmark, strategies, settings, models, repeats } = this.#plan;
    const files = predictionFiles(this.#options.store, this.#plan.key);
    const fingerprint = createHash('sha256');
    const ids = new Set<string>();
    const rows: string[] = [];
    for await (const item of benchmark.items()) {
      if (this.#abort.signal.aborted) return;
      if (ids.has(item.id))
        throw new BenchmarkError(benchmark.name, `the id "${item.id}" occurs twice; ids must be unique`);
      ids.add(item.id);
      const imageSha256 = await this.#images.sha256(item.image);
      const predictions: Record<string, string> = {};
      for (const strategy of strategies) {
        if (strategy.needsTruth && item.truth === null) {
          this.#notApplicable[strategy.name] = (this.#notApplicable[strategy.name] ?? 0) + 1;
          continue;
        }
        for (let repeat = 0; repeat < repeats; repeat++) {
          const key = predictionKey({ strategy, settings, models, item, imageSha256, repeat });
          predictions[`${strategy.name}#${repeat}`] = key;
          this.#counts.known++;
          if (done.has(key)) this.#counts.reused++;
          else {
            this.#images.need(item.image);
            this.#agenda.add(item.image.key, { item, strategy, repeat, key });
          }
        }
      }
      const row: ItemRow = { ...itemContent(item), image: imageSha256, predictions };
      fingerprint.update(JSON.stringify({ ...row, predictions: undefined }));
      rows.push(`${JSON.stringify(row)}\n`);
      this.#wake();
      while (this.#agenda.size > KNOWN_AHEAD && !this.#abort.signal.aborted) await sleep(50);
    }
    if (ids.size === 0) throw new BenchmarkError(benchmark.name, 'there is no question in it');
    const manifest: Manifest = {
      benchmark: benchmark.name,
      title: benchmark.title,
      licence: benchmark.licence,
      count: ids.size,
      fingerprint: fingerprint.digest('hex'),
      published: benchmark.published,
      strategies: strategies.map(({ name }) => name),
      repeats,
      models,
      labels: this.#plan.labels,
      settings: settingsContent(settings),
    };
    // Both at once and only now: what an earlier or another run has written stays whole until then.
    await writeFileAtomic(files.items, rows.join(''));
    await writeJson(files.manifest, manifest);
    this.#read = true;
    this.#wake();
  }

  /** Begins questions while there is room, until all are done or the run is stopped. */
  async #work(): Promise<void> {
    const underWay = new Set<Promise<void>>();
    let lead = true;
    const timer = setTimeout(() => {
      lead = false;
      this.#wake();
    }, LEAD);
    for (;;) {
      const most = lead && !this.#read ? 1 : this.#slots.limit + AHEAD + this.#sharing;
      const room = most - underWay.size;
      const task = room > 0 && !this.#abort.signal.aborted ? this.#agenda.take() : undefined;
      if (task !== undefined) {
        this.#counts.underWay++;
        const running = this.#answer(task).finally(() => {
          this.#counts.underWay--;
          this.#images.done(task.item.image);
          underWay.delete(running);
          this.#wake();
        });
        underWay.add(running);
        continue;
      }
      const over = this.#abort.signal.aborted || (this.#read && this.#agenda.size === 0);
      if (over && underWay.size === 0) {
        clearTimeout(timer);
        return;
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** One question by one strategy; never rejects. */
  async #answer(task: Task): Promise<void> {
    const { item, strategy, repeat } = task;
    try {
      await this.#predictions.append(await this.#predict(task));
      this.#counts.done++;
    } catch (error) {
      if (this.#abort.signal.aborted) return;
      const known =
        error instanceof RequestFailed || error instanceof ImageError || error instanceof BenchmarkError;
      // Anything else is a fault of the program or of the disk, and no property of the question.
      if (!known || (error instanceof RequestFailed && error.kind === 'misconfigured')) this.#stop(error);
      else this.#missing.push({ item: item.id, strategy: strategy.name, repeat, reason: error.message });
    }
  }

  async #predict({ item, strategy, repeat, key }: Task): Promise<PredictionRow> {
    const { settings, rules } = this.#plan;
    const { imageRules } = settings;
    const size = await this.#images.size(item.image, imageRules);
    const cost = noCost();
    const trace: string[] = [];
    const context: StrategyContext = {
      question: {
        text: item.question,
        stem: item.stem,
        options: item.options,
        form: item.form,
        size,
        truth: item.truth,
        ...(item.sentence === undefined ? {} : { sentence: item.sentence }),
      },
      settings,
      whole: (rules = imageRules) => this.#images.whole(item.image, rules),
      evidence: (boxes) => this.#images.evidence(item.image, boxes, imageRules),
      crop: (box, rules) => this.#images.crop(item.image, box, rules),
      framed: (boxes, rules) => this.#images.framed(item.image, boxes, rules),
      random: randomFrom(`${item.id}#${repeat}`),
      ask: async (request) => {
        if (cost.calls >= strategy.budget.calls) throw new BudgetSpent('calls');
        if (cost.completion_tokens >= strategy.budget.completionTokens) throw new BudgetSpent('tokens');
        const seeded =
          request.decoding.temperature > 0
            ? { ...request, decoding: { ...request.decoding, seed: repeat } }
            : request;
        const row = await this.#reply(seeded, key, cost.calls).catch((error: unknown) => {
          // A first request that does not fit says that the endpoint is set up too small; later ones end the conversation.
          if (error instanceof RequestFailed && error.kind === 'context_full' && cost.calls > 0)
            throw new BudgetSpent('context_full');
          throw error;
        });
        trace.push(row.key);
        const images = request.messages.flatMap(({ parts }) =>
          parts.filter((part) => typeof part !== 'string'),
        );
        cost.calls++;
        cost.prompt_tokens += row.prompt_tokens;
        cost.completion_tokens += row.completion_tokens;
        cost.images += images.length;
        cost.pixels += images.reduce((sum, image) => sum + image.width * image.height, 0);
        cost.truncated += row.finish === 'length' ? 1 : 0;
        cost.model_seconds += row.seconds;
        return replyOf(row);
      },
    };
    const outcome = await strategy.run(context).catch((error: unknown): Outcome => {
      if (error instanceof BudgetSpent) return { text: '', stop: error.stop, boxes: [] };
      throw error;
    });
    const row: PredictionRow = {
      key,
      item: item.id,
      strategy: strategy.name,
      repeat,
      text: outcome.text,
      perceiver_text: outcome.perceiverText ?? null,
      boxes: outcome.boxes.map(({ x1, y1, x2, y2 }) => [x1, y1, x2, y2]),
      stop: outcome.stop,
      notes: outcome.notes ?? {},
      cost,
      trace,
      width: size.width,
      height: size.height,
    };
    const { answer, correct, dynamics } = scoreRow(itemContent(item), row, rules, strategy.grounds === true);
    const verdict = { answer, correct, category: item.category.join('/'), metrics: { ...dynamics } };
    return { ...row, verdict };
  }

  /** A reply from disk, from a request under way with the same content, or from the endpoint. On disk when it resolves. */
  async #reply(request: Request, prediction: string, stage: number): Promise<CallRow> {
    const key = callKey(request, this.#plan.models);
    const known = this.#replies.get(key);
    if (known !== undefined) {
      this.#counts.replayed++;
      return known;
    }
    const asking = this.#asking.get(key);
    if (asking !== undefined) {
      this.#sharing++;
      this.#wake();
      return asking.finally(() => this.#sharing--);
    }
    const reply = this.#ask(request, key, prediction, stage).finally(() => this.#asking.delete(key));
    this.#asking.set(key, reply);
    return reply;
  }

  async #ask(request: Request, key: string, prediction: string, stage: number): Promise<CallRow> {
    const { retries, retryDelay, slowestRetry } = this.#options;
    for (let attempt = 0; ; attempt++) {
      const result = await this.#slots.run(
        stage,
        () => this.#send(request, { key, prediction }),
        this.#abort.signal,
      );
      if (!(result instanceof RequestFailed)) {
        this.#failedInARow = 0;
        return result;
      }
      this.#counts.failedRequests++;
      const again = result.kind === 'overloaded' || result.kind === 'unavailable';
      if (!again) throw result;
      if (++this.#failedInARow >= this.#options.patience) {
        this.#stop(new EndpointDown(result.message));
        throw result;
      }
      if (attempt >= retries) throw result;
      const pause = Math.min(slowestRetry, retryDelay * 2 ** attempt) * (0.5 + Math.random() / 2);
      await sleep(Math.max(pause, Math.min(60, result.retryAfter ?? 0) * 1000), undefined, {
        signal: this.#abort.signal,
      });
    }
  }

  /**
   * One try. A failure is a value here, because the slots learn from it. The reply is on disk before its slot goes to another request:
   * a crash loses at most as many replies as there are slots.
   */
  async #send(
    request: Request,
    names: Pick<CallRow, 'key' | 'prediction'>,
  ): Promise<{ load: 'fine' | 'overloaded'; value: RequestFailed | CallRow }> {
    const began = performance.now();
    this.#counts.requests++;
    try {
      const reply = await this.#options.at(request.to, (endpoint) =>
        send(endpoint, request, this.#options.timeout, this.#abort.signal),
      );
      const row: CallRow = {
        ...names,
        text: reply.text,
        finish: reply.finish,
        prompt_tokens: reply.promptTokens,
        completion_tokens: reply.completionTokens,
        ...(reply.firstToken === undefined ? {} : { first_token: reply.firstToken }),
        seconds: (performance.now() - began) / 1000,
      };
      this.#counts.promptTokens += row.prompt_tokens;
      this.#counts.completionTokens += row.completion_tokens;
      await this.#calls.append(row);
      this.#replies.set(row.key, row);
      return { load: 'fine', value: row };
    } catch (error) {
      this.#abort.signal.throwIfAborted();
      if (!(error instanceof RequestFailed)) throw error;
      return { load: error.kind === 'overloaded' ? 'overloaded' : 'fine', value: error };
    }
  }
}

function replyOf(row: CallRow): Reply {
  return {
    text: row.text,
    finish: row.finish,
    promptTokens: row.prompt_tokens,
    completionTokens: row.completion_tokens,
    ...(row.first_token === undefined ? {} : { firstToken: row.first_token }),
  };
}

function itemContent(item: Item): Omit<ItemRow, 'image' | 'predictions'> {
  return {
    id: item.id,
    question: item.question,
    options: item.options,
    form: item.form,
    answer: item.answer,
    truth: item.truth?.map(({ x1, y1, x2, y2 }) => [x1, y1, x2, y2]) ?? null,
    category: item.category,
    cluster: item.cluster,
  };
}
