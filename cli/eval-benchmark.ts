/** The benchmark that `p2r eval` and `p2r datasets` name, and what its reader needs. */
import path from 'node:path';
import { PYTHON, PYTHON_ENV } from '../activities/environment.ts';
import { drawScenes, ScenesFailed, scenesAreThere } from '../activities/scenes.ts';
import type { Benchmark } from '../benchmarks/item.ts';
import { needleBenchmark } from '../benchmarks/readers/needle.ts';
import { parquetFiles, type ReaderTools } from '../benchmarks/readers/parquet.ts';
import type { Store } from '../store/layout.ts';
import { planScenes } from '../studies/plan.ts';
import { QuestionKind } from '../studies/study.ts';
import { EXIT, UserError } from './errors.ts';
import type { EvalOptions } from './eval-command.ts';
import { ensurePython } from './python-environment.ts';
import { say } from './render.ts';

/** Needle scenes of a split that nothing trains on, with a question of every kind about each; drawn once per size. */
export async function drawnNeedle(
  store: Store,
  { questions, split }: Pick<EvalOptions, 'questions' | 'split'>,
): Promise<Benchmark> {
  const kinds = QuestionKind.options;
  if (questions % kinds.length !== 0)
    throw new UserError(
      `--questions must be a multiple of ${kinds.length}: one of each kind (${kinds.join(', ')}) a scene.`,
    );
  const scenes = planScenes(split, questions / kinds.length, kinds.length, kinds, 0);
  const directory = store.scenes(scenes.key);
  const tell = async (fault: string): Promise<void> => {
    say(`The scenes were damaged and are drawn again: ${fault}.`);
  };
  if (!(await scenesAreThere(directory, tell))) {
    await ensurePython(say);
    await drawScenes(store, scenes).catch((error: Error) => {
      throw error instanceof ScenesFailed ? new UserError(error.message, EXIT.failed) : error;
    });
  }
  return needleBenchmark(directory, split);
}

/** What readers of parquet files need; the Python environment is made only where one is read. */
export async function readerTools(store: Store, reference: string): Promise<ReaderTools> {
  const source = reference.slice(reference.indexOf(':') + 1);
  if (parquetFiles(source) !== null) await ensurePython(say);
  return { python: PYTHON, pythonEnvironment: PYTHON_ENV, images: path.join(store.home, 'images') };
}
