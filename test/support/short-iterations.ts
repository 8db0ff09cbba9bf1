/** Workflows of test/many-iterations.test.ts: the experiment is the real one, what it starts ends at once. */
export { experiment } from '../../workflows/experiment.ts';

export async function iteration(): Promise<unknown[]> {
  return [];
}

export async function evaluation({ evaluation: id }: { evaluation: string }): Promise<unknown> {
  return { id, key: 'key', how: 'reused' };
}
