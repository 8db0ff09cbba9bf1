/** Files of a phase that its activities share, besides what store/ lays out for everybody. */
import path from 'node:path';
import type { Store } from '../store/layout.ts';

/** `owner` is the directory of a phase or an evaluation. */
export function serviceFiles(owner: string) {
  const directory = path.join(owner, 'services');
  return {
    directory,
    /** Of the n-th server of the model (0, 1, ...). */
    model: (server: number) => {
      const name = server === 0 ? 'model' : `model-${server}`;
      return {
        record: path.join(directory, `${name}.process.json`),
        log: path.join(directory, `${name}.log`),
        load: path.join(directory, `${name}.load.jsonl`),
        endpoint: path.join(directory, `${name}.server.json`),
      };
    },
    modelEndpoint: path.join(directory, 'model.endpoint.json'),
    /** Of the n-th process of the reward service (0, 1, ...). */
    reward: (process: number) => {
      const name = process === 0 ? 'reward' : `reward-${process}`;
      return {
        record: path.join(directory, `${name}.process.json`),
        config: path.join(directory, `${name}.config.json`),
        ready: path.join(directory, `${name}.server.json`),
        log: path.join(directory, `${name}.log`),
        load: path.join(directory, `${name}.load.jsonl`),
      };
    },
    rewardEndpoint: path.join(directory, 'reward.endpoint.json'),
  };
}

/** Dataset files of a phase. */
export function datasetFiles(store: Store, phaseKey: string) {
  const directory = path.join(store.phase(phaseKey), 'dataset');
  return {
    directory,
    training: path.join(directory, 'train.parquet'),
    perceptions: path.join(directory, 'perceptions.jsonl'),
    images: path.join(directory, 'images'),
    /** Of the n-th process of the reward service: each appends to its own. */
    judgements: (process: number) =>
      path.join(store.phase(phaseKey), process === 0 ? 'judgements.jsonl' : `judgements-${process}.jsonl`),
  };
}

/** The directory that owns the services of a phase or evaluation, by its key. */
export function ownerDirectory(store: Store, key: string): string {
  return key.startsWith('evaluation-') ? store.evaluation(key) : store.phase(key);
}
