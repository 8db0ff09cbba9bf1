/** Content keys: the same inputs always give the same key, so a finished result is found again instead of computed again. */
import { createHash } from 'node:crypto';

/** JSON with sorted object keys and no spaces; undefined fields are left out. Throws on NaN, Infinity and functions. */
export function canonicalJson(value: unknown): string {
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return JSON.stringify(value);
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) throw new TypeError(`A content key cannot hold the number ${value}.`);
    return JSON.stringify(value);
  }
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (typeof value === 'object') {
    const entries = Object.entries(value)
      .filter(([, field]) => field !== undefined)
      .sort(([a], [b]) => (a < b ? -1 : 1));
    return `{${entries.map(([name, field]) => `${JSON.stringify(name)}:${canonicalJson(field)}`).join(',')}}`;
  }
  throw new TypeError(`A content key cannot hold a ${typeof value}.`);
}

/** First 24 hex digits (96 bits) of the sha256 of the canonical JSON, after a readable prefix: `perceiver-1f0c…`. */
export function contentKey(prefix: string, value: unknown): string {
  return `${prefix}-${createHash('sha256').update(canonicalJson(value)).digest('hex').slice(0, 24)}`;
}
