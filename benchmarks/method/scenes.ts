import sharp from 'sharp';

/** Repeatable numbers in 0..1 (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A photograph-like JPEG (quality 90): noise of four sizes, so that fine detail costs the decoder what a photograph's does. */
export async function writeScene(file: string, width: number, height: number, seed: number): Promise<void> {
  const random = seededRandom(seed);
  const layers = [256, 64, 16, 4].map((cell, i) => {
    const columns = Math.ceil(width / cell) + 2;
    const rows = Math.ceil(height / cell) + 2;
    const strength = [120, 70, 40, 24][i] ?? 0;
    return {
      cell,
      columns,
      values: Float32Array.from({ length: columns * rows * 3 }, () => (random() - 0.5) * strength),
    };
  });
  const pixels = Buffer.alloc(width * height * 3);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      for (let channel = 0; channel < 3; channel++) {
        let value = 128;
        for (const { cell, columns, values } of layers) {
          const [column, row] = [Math.floor(x / cell), Math.floor(y / cell)];
          const [u, v] = [x / cell - column, y / cell - row];
          const at = (row * columns + column) * 3 + channel;
          const upper = (values[at] ?? 0) * (1 - u) + (values[at + 3] ?? 0) * u;
          const lower = (values[at + columns * 3] ?? 0) * (1 - u) + (values[at + columns * 3 + 3] ?? 0) * u;
          value += upper * (1 - v) + lower * v;
        }
        pixels[(y * width + x) * 3 + channel] = Math.min(255, Math.max(0, value));
      }
    }
  }
  await sharp(pixels, { raw: { width, height, channels: 3 } })
    .jpeg({ quality: 90 })
    .toFile(file);
}
