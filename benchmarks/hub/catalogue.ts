/** Where the benchmarks and training sets are published, and which of their files are needed. */

/** One dataset of the hub. `files` are path prefixes; a trailing `/` takes a folder. */
export type HubDataset = {
  name: string;
  repository: string;
  files: string[];
  licence: string;
  format: string;
};

export const CATALOGUE: readonly HubDataset[] = [
  {
    name: 'v-star',
    repository: 'craigwu/vstar_bench',
    files: ['test_questions.jsonl', 'direct_attributes/', 'relative_position/'],
    licence: 'MIT (questions); images from SA-1B under its own licence',
    format: 'v-star:FOLDER',
  },
  {
    name: 'hr-bench-4k',
    repository: 'DreamMr/HR-Bench',
    files: ['hr_bench_4k.parquet'],
    licence: 'other; see the dataset card',
    format: 'hr-bench:FOLDER/hr_bench_4k.parquet',
  },
  {
    name: 'hr-bench-8k',
    repository: 'DreamMr/HR-Bench',
    files: ['hr_bench_8k.parquet'],
    licence: 'other; see the dataset card',
    format: 'hr-bench:FOLDER/hr_bench_8k.parquet',
  },
  {
    name: 'mme-realworld-lite',
    repository: 'yifanzhang114/MME-RealWorld-lite-lmms-eval',
    files: ['data/'],
    licence: 'academic use only; no redistribution or modification without approval',
    format: 'mme-realworld:FOLDER/data',
  },
  {
    name: 'mme-realworld',
    repository: 'yifanzhang114/MME-RealWorld-Lmms-eval',
    files: ['data/'],
    licence: 'academic use only; no redistribution or modification without approval',
    format: 'mme-realworld:FOLDER/data',
  },
  {
    name: 'zoom-bench',
    repository: 'inclusionAI/ZoomBench',
    files: ['data/', 'test'],
    licence: 'see the dataset card',
    format: 'zoom-bench:FOLDER/<file>.parquet',
  },
  ...(['Easy', 'Medium', 'Hard'] as const).map((level) => ({
    name: `visual-probe-${level.toLowerCase()}`,
    repository: `Mini-o3/VisualProbe_${level}`,
    files: ['val.json', 'images/'],
    licence: 'CC BY-NC 4.0',
    format: `visual-probe-${level.toLowerCase()}:FOLDER/val.json`,
  })),
  {
    name: 'visual-probe-train',
    repository: 'Mini-o3/VisualProbe_train',
    files: ['train.json', 'images/'],
    licence: 'CC BY-NC 4.0',
    format: 'visual-probe-train:FOLDER/train.json',
  },
  {
    name: 'deepeyes-4k',
    repository: 'Mini-o3/DeepEyes_train_4K',
    files: ['train.json', 'images/'],
    licence: 'CC BY-NC 4.0',
    format: 'deepeyes-4k:FOLDER/train.json',
  },
  {
    name: 'deepeyes-47k',
    repository: 'ChenShawn/DeepEyes-Datasets-47k',
    files: [
      'data_0.1.2_visual_toolbox_v2.parquet',
      'data_v0.8_visual_toolbox_v2.parquet',
      'data_thinklite_reasoning_acc.parquet',
    ],
    licence: 'see the dataset card',
    format: 'deepeyes-47k:FOLDER',
  },
  {
    name: 'zwz-mini',
    repository: 'muyuho/ZwZ-RL-VQA-mini',
    files: ['train_crop_clean.csv', 'images/', 'original_images/'],
    licence: 'Apache-2.0',
    format: 'zwz-mini:FOLDER/train_crop_clean.csv',
  },
  {
    name: 'zwz',
    repository: 'inclusionAI/ZwZ-RL-VQA',
    files: ['train.parquet', 'images/'],
    licence: 'Apache-2.0',
    format: 'zwz:FOLDER/train.parquet',
  },
];
