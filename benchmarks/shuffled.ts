/** A benchmark with its options in another order: how much of a score hangs on where the right answer stands. */
import { createHash } from 'node:crypto';
import { type Benchmark, BenchmarkError, type Item } from './item.ts';
import { shuffleOptions } from './statistics/letters.ts';

/** The same questions with seeded orders of options, a different one for each; ids stay, so that runs can be compared in pairs. */
export function withShuffledOptions(benchmark: Benchmark, seed: number): Benchmark {
  return {
    ...benchmark,
    name: `${benchmark.name}-shuffled-${seed}`,
    title: `${benchmark.title} (options shuffled, seed ${seed})`,
    async *items() {
      for await (const item of benchmark.items())
        yield item.form === 'choice' && item.options.length > 1 ? shuffled(benchmark.name, item, seed) : item;
    },
  };
}

function shuffled(name: string, item: Item, seed: number): Item {
  const own = createHash('sha256').update(`${seed}:${item.id}`).digest().readUInt32BE(0);
  const { options, answer } = shuffleOptions(item.options, item.answer, own);
  let question = item.question;
  for (const [index, option] of item.options.entries()) {
    const letter = String.fromCharCode(65 + index);
    const line = [`(${letter}) ${option}`, `${letter}. ${option}`].find((text) => question.includes(text));
    if (line === undefined)
      throw new BenchmarkError(
        `${name}, question ${item.id}`,
        `option ${letter} does not stand in its text as "(${letter}) ..." or "${letter}. ...", so that its options cannot be shuffled`,
      );
    // A mark first: an option's text may be part of another's.
    question = question.replace(
      line,
      () => `${line.slice(0, line.length - option.length)}\u0000${index}\u0000`,
    );
  }
  question = question.replace(/\0(\d+)\0/g, (_, index: string) => options[Number(index)] ?? '');
  return { ...item, options, answer, question };
}
