/** What different extractors read from the same texts. */
import {
  type AnswerSample,
  EXTRACTORS,
  type ExtractorName,
  extractAnswer,
  isCorrect,
} from '../../method/answers.ts';

/** One raw answer and what it is compared with. */
export type RawAnswer = { id: string; text: string; reference: string; sample: AnswerSample };

/** Accuracy, unread answers, and disagreements with the chosen extractor. */
export type ExtractorAudit = {
  extractor: ExtractorName;
  accuracy: number;
  unread: number;
  disagreements: { id: string; chosen: string | null; other: string | null }[];
};

/** All named extractors over the same answers; disagreements are with `chosen`. */
export function auditExtractors(chosen: ExtractorName, answers: readonly RawAnswer[]): ExtractorAudit[] {
  return (Object.keys(EXTRACTORS) as ExtractorName[]).map((extractor) => {
    const read = answers.map(({ id, text, reference, sample }) => {
      const { answer } = extractAnswer(extractor, text, sample);
      return {
        id,
        answer,
        correct: isCorrect(answer, reference, sample),
        chosen: extractAnswer(chosen, text, sample).answer,
      };
    });
    return {
      extractor,
      accuracy: read.filter(({ correct }) => correct).length / Math.max(1, read.length),
      unread: read.filter(({ answer }) => answer === null).length,
      disagreements: read.flatMap(({ id, answer, chosen: other }) =>
        answer === other ? [] : [{ id, chosen: other, other: answer }],
      ),
    };
  });
}
