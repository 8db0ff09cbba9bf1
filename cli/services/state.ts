/** services.json: what runs on this home, written by the supervisor, read by every command. */
import path from 'node:path';
import { z } from 'zod';
import { ProcessRecord } from '../../activities/processes.ts';
import { readJson } from '../../store/files.ts';
import type { Store } from '../../store/layout.ts';

export const Services = z.object({
  supervisor: ProcessRecord,
  temporal: z.object({ address: z.string(), ui: z.string().nullable() }),
  dashboard: z.object({ url: z.string() }),
  children: z.record(z.string(), ProcessRecord),
});
export type Services = z.infer<typeof Services>;

/** Path of services.json. */
export function servicesFile(store: Store): string {
  return path.join(store.services, 'services.json');
}

/** What is recorded, or null when nothing was ever started or all was stopped. */
export async function readServices(store: Store): Promise<Services | null> {
  return readJson(servicesFile(store), Services);
}
