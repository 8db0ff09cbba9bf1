/** Numbers that the paper prints, in per cent. They are shown beside ours and always marked as published. */

/** A row of a published table; `null` where the paper has a dash. */
export type PublishedRow = { label: string; values: (number | null)[] };

/** Table 1: V-Star Attr, Spatial, Overall; HR-Bench-4K FSP, FCP, Overall; HR-Bench-8K FSP, FCP, Overall; average of the three overalls. */
export const TABLE_1: readonly PublishedRow[] = [
  { label: 'GPT-4o', values: [null, null, 66.0, 70.0, 48.0, 59.0, 62.0, 49.0, 55.0, 60.0] },
  { label: 'o3', values: [null, null, 95.7, null, null, null, null, null, null, null] },
  { label: 'Qwen3-VL-Instruct-2B', values: [73.0, 77.6, 74.9, 81.0, 59.8, 70.4, 70.8, 58.5, 64.6, 70.0] },
  { label: 'Qwen3-VL-Instruct-4B', values: [79.1, 85.5, 81.7, 81.8, 66.0, 73.8, 73.8, 60.3, 67.0, 74.2] },
  { label: 'Qwen3-VL-Instruct-8B', values: [84.3, 82.9, 83.8, 81.0, 68.5, 74.8, 73.3, 70.1, 70.1, 76.2] },
  { label: 'Qwen3-VL-Instruct-32B', values: [86.1, 88.2, 86.9, 86.0, 71.3, 78.6, 78.8, 68.5, 73.6, 79.7] },
  { label: 'DyFo-7B', values: [80.0, 82.9, 81.2, null, null, null, null, null, null, null] },
  { label: 'ZoomEye-7B', values: [93.9, 85.5, 90.6, 84.3, 55.0, 69.6, 88.5, 50.0, 69.3, 76.5] },
  { label: 'DeepEyes-7B', values: [91.3, 88.2, 90.1, 91.3, 59.0, 75.1, 86.8, 58.5, 72.6, 79.3] },
  { label: 'PixelReasoner-7B', values: [83.5, 76.3, 80.6, 86.0, 60.3, 72.9, 80.0, 54.3, 66.9, 73.5] },
  { label: 'Thyme-7B', values: [83.5, 80.3, 82.2, 91.0, 63.0, 77.0, 86.5, 57.5, 72.0, 77.1] },
  { label: 'P2R-2B', values: [84.3, 84.2, 84.3, 89.8, 60.1, 75.1, 86.8, 62.7, 74.8, 78.1] },
  { label: 'P2R-4B', values: [92.2, 94.7, 93.2, 92.3, 71.5, 81.9, 92.0, 69.0, 80.5, 85.2] },
  { label: 'P2R-8B', values: [92.2, 96.1, 93.7, 93.5, 71.5, 81.5, 94.5, 70.8, 82.6, 85.9] },
];

/** Table 2: MME-RealWorld-Lite overall; Perception OCR, RS, DT, MO, AD; Reasoning OCR, DT, MO, AD. */
export const TABLE_2: readonly PublishedRow[] = [
  { label: 'Qwen3-VL-Instruct-2B', values: [47.3, 85.2, 38.7, 74.0, 32.9, 39.1, 69.0, 67.0, 40.7, 30.8] },
  { label: 'Qwen3-VL-Instruct-4B', values: [47.7, 88.0, 38.0, 80.0, 34.8, 33.7, 74.0, 77.0, 34.7, 31.8] },
  { label: 'Qwen3-VL-Instruct-8B', values: [50.4, 88.8, 49.3, 85.0, 36.4, 33.1, 81.0, 79.0, 38.7, 34.3] },
  { label: 'Qwen3-VL-Instruct-32B', values: [52.3, 86.8, 50.0, 89.0, 38.6, 36.0, 82.0, 88.0, 44.0, 34.5] },
  { label: 'DeepEyes-7B', values: [53.2, 90.0, 52.7, 89.0, 43.3, 33.4, 76.0, 69.0, 44.0, 35.0] },
  { label: 'PixelReasoner-7B', values: [49.7, 89.6, 52.0, 86.0, 38.9, 30.9, 71.0, 72.0, 46.0, 32.5] },
  { label: 'P2R-2B', values: [51.3, 88.4, 43.3, 78.0, 39.8, 40.6, 76.0, 68.0, 44.0, 35.5] },
  { label: 'P2R-4B', values: [54.8, 88.8, 50.0, 86.0, 46.1, 39.1, 79.0, 78.0, 46.7, 39.5] },
  { label: 'P2R-8B', values: [57.4, 92.4, 58.7, 89.0, 44.5, 46.9, 81.0, 81.0, 46.7, 39.0] },
];

/** Table 3, perceiver + reasoner of the 4B model: V-Star, HR-4K, HR-8K, average. */
export const TABLE_3: readonly PublishedRow[] = [
  { label: 'Base + Base', values: [89.0, 78.3, 73.8, 80.4] },
  { label: 'P-Only + Base', values: [90.6, 78.6, 78.1, 82.4] },
  { label: 'P-Only + P-Only', values: [92.1, 79.6, 78.8, 83.5] },
  { label: 'Base + R-Only', values: [90.8, 80.5, 76.9, 82.7] },
  { label: 'R-Only + R-Only', values: [91.3, 81.4, 77.5, 83.4] },
  { label: 'P-Only + R-Only', values: [92.1, 81.4, 81.0, 84.8] },
  { label: 'P2R-Full + P2R-Full', values: [93.2, 81.9, 80.5, 85.2] },
];

/** Table 4, ReasonSeg Acc@0.5: test, val, average. */
export const TABLE_4: readonly PublishedRow[] = [
  { label: 'Qwen3-VL-4B', values: [59.1, 64.1, 61.6] },
  { label: 'P2R-4B', values: [59.6, 65.9, 62.7] },
];

/** Table 5, V-Star Attr, Spatial, Overall, Qwen3-VL-4B. */
export const TABLE_5: readonly PublishedRow[] = [
  { label: 'Qwen3-VL-4B, Direct CoT', values: [79.1, 85.5, 81.7] },
  { label: 'Qwen3-VL-4B, Oracle Hint', values: [87.8, 94.7, 90.6] },
];
