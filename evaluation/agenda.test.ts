import { expect, test } from 'vitest';
import { Agenda } from './agenda.ts';

test('questions about one image are begun one after the other, also those that become known late', () => {
  const agenda = new Agenda<string>();
  for (const question of ['a1', 'b1', 'c1', 'a2', 'b2']) agenda.add(question.slice(0, 1), question);
  const begun = [agenda.take()];
  agenda.add('a', 'a3');
  while (agenda.size > 0) begun.push(agenda.take());
  expect(begun).toEqual(['a1', 'a2', 'a3', 'b1', 'b2', 'c1']);
  expect(agenda.take()).toBeUndefined();
});
