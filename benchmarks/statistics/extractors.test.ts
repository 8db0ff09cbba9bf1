import { expect, test } from 'vitest';
import { auditExtractors } from './extractors.ts';

test('extractors that read something else are named with the question', () => {
  const sample = { form: 'choice' as const, options: ['blue', 'green', 'red', 'black'] };
  const audits = auditExtractors('p2r@1', [
    { id: 'q1', text: 'Answer: D', reference: 'D', sample },
    { id: 'q2', text: '<answer>C</answer>', reference: 'C', sample },
  ]);
  expect(audits.find(({ extractor }) => extractor === 'p2r@1')).toMatchObject({
    accuracy: 1,
    disagreements: [],
  });
  expect(audits.find(({ extractor }) => extractor === 'lmms-vstar@1')?.disagreements).toContainEqual({
    id: 'q1',
    chosen: 'D',
    other: 'A',
  });
  expect(audits.find(({ extractor }) => extractor === 'strict@1')).toMatchObject({
    unread: 1,
    accuracy: 0.5,
  });
});
