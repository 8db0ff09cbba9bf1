import { describe, expect, it } from 'vitest';
import { PROMPT_SETS, type PromptSetName, promptSetKey, renderPrompt } from './prompts.ts';

describe('the paper set (appendix B.1)', () => {
  const render = (role: 'perceiver' | 'reasoner' | 'direct' | 'no-evidence') =>
    renderPrompt({ set: 'paper', role, question: 'What is it?' });

  it('is the wording of the paper, one space after the question', () => {
    expect(render('perceiver')).toEqual({
      system: 'You are a helpful assistant.',
      user: 'What is it? Please carefully observe the image first to identify the object(s) referred to in the question. Note that each object type appears only once in the image. Then provide the 2D bounding box coordinates and labels of the related objects in JSON format.',
    });
    expect(render('reasoner').user).toBe(
      'What is it? The key visual regions have been highlighted and cropped for you. Think step by step.',
    );
    expect(render('direct').user).toBe('What is it? Think step by step.');
    expect(render('no-evidence').user).toBe('What is it? Think step by step.');
  });
});

describe('any set', () => {
  it('puts the question in as it is', () => {
    const question = 'Is $& {question} $1 there?';
    for (const set of Object.keys(PROMPT_SETS) as PromptSetName[]) {
      const { user } = renderPrompt({ set, role: 'reasoner', question });
      expect(user.split(question)).toHaveLength(2);
    }
  });

  it('asks for the answer form only where an answer is asked for', () => {
    const render = (role: 'perceiver' | 'reasoner') =>
      renderPrompt({ set: 'authors', role, question: 'Q', answerForm: 'choice' }).user;
    expect(render('perceiver')).not.toContain('<answer>');
    expect(render('reasoner')).toContain('<answer> </answer>');
  });

  it('has a key of its own', () => {
    const keys = (Object.keys(PROMPT_SETS) as PromptSetName[]).map(promptSetKey);
    expect(new Set(keys).size).toBe(keys.length);
    expect(keys[0]).toMatch(/^paper@1:[0-9a-f]{16}$/);
  });
});
