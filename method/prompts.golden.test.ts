import { describe, expect, it } from 'vitest';
import {
  type AnswerForm,
  PROMPT_SETS,
  type PromptRole,
  type PromptSetName,
  promptSetKey,
  renderPrompt,
} from './prompts.ts';

/** One made-up question in the form each benchmark's reader gives it. */
const QUESTIONS: Record<string, { question: string; answerForm: AnswerForm; roles?: PromptRole[] }> = {
  'v-star': {
    question: 'What is the color of the bicycle?\n(A) red\n(B) green\n(C) white\n(D) black',
    answerForm: 'choice',
  },
  'hr-bench': {
    question: 'What is the number on the door?\nOptions:\nA. 12\nB. 21\nC. 17\nD. 71',
    answerForm: 'choice',
  },
  'mme-realworld-lite': {
    question:
      "How many boats are in the upper left area?\nOptions:\n(A) 2\n(B) 3\n(C) 4\n(D) 5\n(E) This image doesn't feature the number.",
    answerForm: 'choice',
  },
  'reason-seg': {
    question: 'the part of the vehicle that lets the driver see behind',
    answerForm: 'text',
    roles: ['grounding', 'perceiver'],
  },
  'visual-probe': { question: 'What is written on the small sign?', answerForm: 'text' },
  zwz: { question: 'How many windows does the tower have?', answerForm: 'number' },
};

const ROLES: PromptRole[] = ['perceiver', 'reasoner', 'direct', 'no-evidence'];

describe.each(Object.keys(PROMPT_SETS) as PromptSetName[])('rendered prompts of the set %s', (set) => {
  it.each(Object.entries(QUESTIONS))('%s', async (benchmark, { question, answerForm, roles = ROLES }) => {
    const rendered = roles.map((role) => {
      const { system, user } = renderPrompt({ set, role, question, answerForm });
      return `=== ${role}: system\n${system}\n=== ${role}: user\n${user}\n=== end\n`;
    });
    await expect(rendered.join('\n')).toMatchFileSnapshot(`fixtures/prompts/${set}/${benchmark}.txt`);
  });
});

it('the keys are those of these texts: a changed prompt needs a new version', () => {
  const keys = (Object.keys(PROMPT_SETS) as PromptSetName[]).map(promptSetKey);
  expect(keys).toMatchInlineSnapshot(`
    [
      "paper@1:abc66e61d6ca733f",
      "authors@1:2279b98aefbc0be6",
      "authors-evaluation@1:09a42226598e628c",
      "qwen@1:44962cd757710092",
    ]
  `);
});
