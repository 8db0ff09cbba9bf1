/** Dataset rows and their images, found by sample id; an image is read only when a row of a dataset names it. */
import { readdir, readFile, realpath, stat } from 'node:fs/promises';
import path from 'node:path';
import { InvalidIdError, type Store } from '../../store/layout.ts';
import { Sample } from '../../store/samples.ts';
import type { SampleView } from './api.ts';
import { JsonLinesTail } from './tail.ts';

/** Larger images are not sent. */
const LARGEST_IMAGE = 64 * 1024 * 1024;

/** First bytes of the image formats that are sent; everything else is refused, whatever its name. */
const FORMATS: [type: string, test: (bytes: Buffer) => boolean][] = [
  ['image/jpeg', (bytes) => bytes.subarray(0, 3).equals(Buffer.from([0xff, 0xd8, 0xff]))],
  ['image/png', (bytes) => bytes.subarray(0, 4).equals(Buffer.from([0x89, 0x50, 0x4e, 0x47]))],
  [
    'image/webp',
    (bytes) => bytes.toString('latin1', 0, 4) === 'RIFF' && bytes.toString('latin1', 8, 12) === 'WEBP',
  ],
];

/** The samples of one home. */
export type Samples = ReturnType<typeof openSamples>;

/** Opens a home's datasets; each is read when it is first asked for. */
export function openSamples(store: Store) {
  const datasets = new Map<
    string,
    { tail: JsonLinesTail<Sample>; byId: Map<string, Sample>; seen: number }
  >();

  async function dataset(key: string): Promise<Map<string, Sample>> {
    const known = datasets.get(key) ?? {
      tail: new JsonLinesTail(path.join(store.scenes(key), 'rows.jsonl'), Sample),
      byId: new Map<string, Sample>(),
      seen: 0,
    };
    datasets.set(key, known);
    if (await known.tail.update()) {
      if (known.tail.rows.length < known.seen) known.byId.clear();
      for (const row of known.tail.rows) known.byId.set(row.sample_id, row);
      known.seen = known.tail.rows.length;
    }
    return known.byId;
  }

  /** A row, in the named dataset or else in the first that has it. */
  async function row(id: string, preferred: string | null): Promise<{ key: string; sample: Sample } | null> {
    const folders = await readdir(path.dirname(store.scenes('any'))).catch(() => [] as string[]);
    for (const key of preferred === null ? folders : [preferred, ...folders]) {
      try {
        const sample = (await dataset(key)).get(id);
        if (sample !== undefined) return { key, sample };
      } catch (error) {
        if (!(error instanceof InvalidIdError)) throw error;
      }
    }
    return null;
  }

  return {
    /** The sample of this id, or null when no dataset has it. `preferred` is looked into first. */
    async find(id: string, preferred: string | null): Promise<SampleView | null> {
      const found = await row(id, preferred);
      if (found === null) return null;
      const { sample_id, width, height, question, options, answer, kind, boxes, labels } = found.sample;
      return { sample_id, dataset: found.key, width, height, question, options, answer, kind, boxes, labels };
    },

    /** Kind of question by sample id; empty where there is no such dataset. */
    async kinds(key: string | null): Promise<Map<string, string>> {
      if (key === null) return new Map();
      return new Map([...(await dataset(key))].map(([id, sample]) => [id, sample.kind]));
    },

    /**
     * A sample's original image, or null when there is none. A path that leaves the dataset's directory, also by a link, and a file that
     * is no image count as none.
     */
    async image(key: string, id: string): Promise<{ bytes: Uint8Array<ArrayBuffer>; type: string } | null> {
      const sample = (await dataset(key)).get(id);
      if (sample === undefined) return null;
      const root = await realpath(store.scenes(key));
      const file = await realpath(path.resolve(root, sample.image)).catch(() => null);
      if (file === null || !file.startsWith(root + path.sep)) return null;
      if ((await stat(file)).size > LARGEST_IMAGE) return null;
      const bytes = await readFile(file);
      const type = FORMATS.find(([, test]) => test(bytes))?.[0];
      return type === undefined ? null : { bytes: new Uint8Array(bytes), type };
    },
  };
}
