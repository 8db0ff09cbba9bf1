/** One judgement: a completion becomes boxes, evidence, an answer and a reward, with everything that was seen on the way. */

import { type ExtractorName, extractAnswer, isCorrect } from '../method/answers.ts';
import { type Box, parseBoxes } from '../method/boxes.ts';
import { boxDynamics } from '../method/dynamics.ts';
import type { ImageRules } from '../method/image-rules.ts';
import { answerForm, type Sample } from '../store/samples.ts';

/** A sample's ground-truth boxes with labels. */
export function truthBoxes(sample: Sample): Box[] {
  return sample.boxes.map(([x1, y1, x2, y2], index) => ({
    x1,
    y1,
    x2,
    y2,
    label: sample.labels[index] ?? '',
  }));
}

/** Box metrics of a perceiver's text against the sample's ground truth. */
export function perceptionMetrics(sample: Sample, perceiverText: string, rules: ImageRules) {
  const { boxes, dropped } = parseBoxes(perceiverText, sample);
  return {
    boxes,
    dropped,
    metrics: { ...boxDynamics(boxes, truthBoxes(sample), sample, rules), boxes_dropped: dropped.length },
  };
}

/** The verdict on an answer's text (Equation 3 of the paper). */
export function verdict(
  extractor: ExtractorName,
  sample: Sample,
  text: string,
): { answer: string | null; correct: boolean } {
  const form = { form: answerForm(sample), options: sample.options };
  const { answer } = extractAnswer(extractor, text, form);
  return { answer, correct: isCorrect(answer, sample.answer, form) };
}

/** Boxes as the files of a run hold them: [x1, y1, x2, y2] in pixels of the original image. */
export function boxRows(boxes: Box[]): number[][] {
  return boxes.map(({ x1, y1, x2, y2 }) => [x1, y1, x2, y2]);
}
