/** Verdicts of a judge on free-form answers: asked once each, kept beside the predictions, never guessed. */
import OpenAI from 'openai';
import pLimit from 'p-limit';
import { z } from 'zod';
import type { ScoringRules } from '../benchmarks/scoring.ts';
import { extractAnswer, isCorrect } from '../method/answers.ts';
import { type JudgeRecord, judgeFreeForm, judgeKey } from '../method/judge.ts';
import { readJsonLines } from '../store/files.ts';
import type { Store } from '../store/layout.ts';
import { AppendLog, predictionFiles, readEvaluation } from '../store/predictions.ts';
import type { Endpoint } from './endpoint.ts';

/** One line of judged.jsonl. `verdict` names what was compared, by which judge; `prediction` and `extractor` for whose answer. */
const JudgedRow = z.object({
  verdict: z.string(),
  prediction: z.string(),
  extractor: z.string(),
  model: z.string(),
  correct: z.boolean(),
  reply: z.string().nullable(),
});
type JudgedRow = z.infer<typeof JudgedRow>;

/** The judge's verdicts on an evaluation's answers as an extractor reads them, by prediction key; the newest judge's where several spoke. */
export async function storedVerdicts(
  store: Store,
  key: string,
  extractor: ScoringRules['extractor'],
): Promise<Map<string, boolean>> {
  const rows = await readJsonLines(predictionFiles(store, key).judged, JudgedRow);
  return new Map(
    rows.filter((row) => row.extractor === extractor).map(({ prediction, correct }) => [prediction, correct]),
  );
}

/**
 * Asks the judge about every free-form answer that differs from its reference and that it has not seen. `null` in the result: the judge
 * gave no verdict, and the answer counts as missing. Rejects with the signal's reason when aborted.
 */
export async function judgeAnswers(
  store: Store,
  key: string,
  extractor: ScoringRules['extractor'],
  judge: { endpoint: Endpoint; concurrency: number; timeout: number; signal?: AbortSignal },
): Promise<Map<string, boolean | null>> {
  const { endpoint, concurrency, timeout, signal } = judge;
  const { items, predictions } = await readEvaluation(store, key);
  const { judged: file } = predictionFiles(store, key);
  const known = new Map<string, JudgeRecord>(
    (await readJsonLines(file, JudgedRow)).map(({ verdict, correct, reply }) => [
      verdict,
      { correct, reply },
    ]),
  );
  const client = new OpenAI({ baseURL: endpoint.url, apiKey: endpoint.token, maxRetries: 0 });
  const log = new AppendLog<JudgedRow>(file);
  const limit = pLimit(concurrency);
  const verdicts = new Map<string, boolean | null>();
  const one = async (prediction: string, question: string, reference: string, answer: string) => {
    const sample = { question, reference, answer };
    const verdict = await judgeFreeForm(sample, {
      client,
      model: endpoint.model,
      cache: known,
      timeout,
      signal,
    });
    verdicts.set(prediction, verdict.status === 'judged' ? verdict.correct : null);
    if (verdict.status !== 'judged') return;
    await log.append({
      verdict: judgeKey(endpoint.model, sample),
      prediction,
      extractor,
      model: endpoint.model,
      correct: verdict.correct,
      reply: verdict.reply ?? null,
    });
  };
  try {
    await Promise.all(
      items
        .filter(({ form }) => form === 'text')
        .flatMap((item) =>
          Object.values(item.predictions).map((prediction) =>
            limit(async () => {
              const row = predictions.get(prediction);
              if (row === undefined) return;
              const { answer } = extractAnswer(extractor, row.text, { form: 'text' });
              if (answer === null || isCorrect(answer, item.answer, { form: 'text' })) return;
              await one(prediction, item.question, item.answer, answer);
            }),
          ),
        ),
    );
  } finally {
    await log.close();
  }
  return verdicts;
}
