/** Model directories: is it a Qwen3-VL, is it whole, and which weights are these. */
import { open, readdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { readJson, sha256File } from './files.ts';
import { contentKey } from './keys.ts';
import { MODEL_RECORD } from './model-records.ts';

/** A model directory that cannot be used; the message says why and what to do. */
export class ModelInvalidError extends Error {
  constructor(directory: string, why: string) {
    super(`${directory} is not a usable model: ${why}`);
    this.name = 'ModelInvalidError';
  }
}

const Config = z.looseObject({ model_type: z.string() });
const TensorHeader = z.record(
  z.string(),
  z.looseObject({ data_offsets: z.tuple([z.number(), z.number()]).optional() }),
);
const MAX_HEADER_BYTES = 100 * 1024 * 1024;

/** Checks a safetensors file's length against its header; returns a sentence, or null when it is whole. */
async function weightsFault(file: string): Promise<string | null> {
  const { size } = await stat(file);
  const handle = await open(file, 'r');
  try {
    const prefix = Buffer.alloc(8);
    if ((await handle.read(prefix, 0, 8, 0)).bytesRead < 8)
      return `${path.basename(file)} is empty or truncated.`;
    const length = Number(prefix.readBigUInt64LE());
    if (length > MAX_HEADER_BYTES || 8 + length > size)
      return `${path.basename(file)} is truncated within its header.`;
    const header = Buffer.alloc(length);
    await handle.read(header, 0, length, 8);
    const tensors = TensorHeader.parse(JSON.parse(header.toString('utf8')));
    const end = Math.max(0, ...Object.values(tensors).map((tensor) => tensor.data_offsets?.[1] ?? 0));
    const expected = 8 + length + end;
    return expected === size
      ? null
      : `${path.basename(file)} has ${size} bytes where its header promises ${expected}: download or copy it again.`;
  } catch (error) {
    return `${path.basename(file)} has no readable header (${error instanceof Error ? error.message : error}).`;
  } finally {
    await handle.close();
  }
}

/** Content key of a model directory (config, processor files and weights, not their record). Throws {@link ModelInvalidError}. */
export async function inspectModel(directory: string): Promise<string> {
  const config = await readJson(path.join(directory, 'config.json'), Config).catch((error: Error) => {
    throw new ModelInvalidError(directory, error.message);
  });
  if (config === null)
    throw new ModelInvalidError(directory, 'config.json is missing; give a Hugging Face model directory.');
  if (config.model_type !== 'qwen3_vl')
    throw new ModelInvalidError(
      directory,
      `its config.json says model_type "${config.model_type}"; P2R needs a "qwen3_vl".`,
    );
  const names = (await readdir(directory))
    .filter((name) => /\.(json|safetensors|jinja)$/.test(name) && name !== MODEL_RECORD)
    .sort();
  const weights = names.filter((name) => name.endsWith('.safetensors'));
  if (weights.length === 0) throw new ModelInvalidError(directory, 'it holds no .safetensors file.');
  for (const name of weights) {
    const fault = await weightsFault(path.join(directory, name));
    if (fault !== null) throw new ModelInvalidError(directory, fault);
  }
  const files = await Promise.all(
    names.map(async (name) => [name, await sha256File(path.join(directory, name))]),
  );
  return contentKey('model', files);
}
