import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { DecodedImages } from './decoded-images.ts';
import { IMAGE_RULES } from './images.ts';

const rules = IMAGE_RULES.tiny;
const png = () =>
  sharp({ create: { width: 100, height: 100, channels: 3, background: '#888' } })
    .png()
    .toBuffer();

describe('DecodedImages', () => {
  it('decodes once for all who ask', async () => {
    const images = new DecodedImages();
    let loads = 0;
    const load = () => {
      loads++;
      return png();
    };
    const all = await Promise.all(Array.from({ length: 8 }, () => images.get('a', rules, load)));
    expect(new Set(all).size).toBe(1);
    expect(loads).toBe(1);
  });

  it('forgets the least recently used beyond its bytes', async () => {
    const size = 30_000 + (await png()).length;
    const images = new DecodedImages({ maxBytes: 2 * size });
    const loaded: string[] = [];
    const get = (key: string) =>
      images.get(key, rules, () => {
        loaded.push(key);
        return png();
      });
    await get('a');
    await get('b');
    await get('a');
    await get('c');
    expect(images.bytes).toBe(2 * size);
    await get('a');
    await get('b');
    expect(loaded).toEqual(['a', 'b', 'c', 'b']);
  });

  it('tries again after a failure', async () => {
    const images = new DecodedImages();
    await expect(images.get('a', rules, () => Promise.reject(new Error('not there yet')))).rejects.toThrow(
      'not there yet',
    );
    expect((await images.get('a', rules, png)).width).toBe(100);
  });
});
