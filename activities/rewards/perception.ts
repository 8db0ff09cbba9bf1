import { z } from 'zod';

/** One answer of the frozen perceiver, collected before the reasoner phase. */
export const Perception = z.object({ sample_id: z.string(), text: z.string() });
export type Perception = z.infer<typeof Perception>;
