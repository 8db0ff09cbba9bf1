/** Buffers kept for reuse: fresh memory of this size costs more in page faults than the pixels cost to write. */
const KEPT_BYTES = 128_000_000;

const idle: Buffer[] = [];
let idleBytes = 0;

/**
 * Runs `work` with a buffer of `length` bytes whose contents are left over from earlier use; `work` must fill it, and must not use it
 * once its promise has settled.
 */
export async function withScratch<T>(length: number, work: (buffer: Buffer) => Promise<T>): Promise<T> {
  const fit = idle.findIndex((buffer) => buffer.length >= length && buffer.length <= 2 * length);
  let [buffer] = fit < 0 ? [] : idle.splice(fit, 1);
  if (buffer === undefined) buffer = Buffer.allocUnsafeSlow(length);
  else idleBytes -= buffer.length;
  try {
    return await work(buffer.subarray(0, length));
  } finally {
    idle.push(buffer);
    idleBytes += buffer.length;
    while (idleBytes > KEPT_BYTES) idleBytes -= idle.shift()?.length ?? idleBytes;
  }
}
