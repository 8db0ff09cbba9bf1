/** The gate as the dashboard knows it: what to show before a decision, and how a decision is handed on. */
import { z } from 'zod';
import { committedSteps } from '../../store/checkpoints.ts';
import type { Store } from '../../store/layout.ts';
import type { PlannedStep } from '../../store/reuse.ts';
import type { GateView } from './api.ts';
import { type ExperimentReading, experimentDetail } from './view.ts';

/** A retry: other hyper-parameters by name (checked where the plan is made), and a committed step to go on from. */
export const Retry = z.strictObject({
  overrides: z
    .record(z.string().max(64), z.union([z.number(), z.string().max(200)]))
    .refine((overrides) => Object.keys(overrides).length <= 32, 'at most 32 parameters')
    .default({}),
  fromCheckpoint: z.int().positive().nullable().default(null),
});
export type Retry = z.infer<typeof Retry>;

/** A skip: what follows uses the phase's start, or its newest committed checkpoint. */
export const Skip = z.strictObject({ use: z.enum(['start', 'checkpoint']) });

/** The decision was refused; the message says why and what is allowed. */
export class GateRefusedError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'GateRefusedError';
  }
}

/** The way from a button to the waiting workflow. Every method throws {@link GateRefusedError} when its wish cannot be granted. */
export type GateClient = {
  /** What the experiment would reuse and run if the phase were tried again like this; nothing is changed. */
  plan(experiment: string, phase: string, retry: Retry): Promise<PlannedStep[]>;
  retry(experiment: string, phase: string, retry: Retry): Promise<void>;
  skip(experiment: string, phase: string, use: 'start' | 'checkpoint'): Promise<void>;
  abort(experiment: string, phase: string): Promise<void>;
};

const Parameters = z.record(z.string(), z.unknown());

/** What is read of the event of a phase that waits. */
const Waiting = z.looseObject({
  recognised: z.looseObject({ overrides: z.record(z.string(), z.union([z.number(), z.string()])) }).nullish(),
});

/** What a person needs to see before deciding about the waiting phase; null when none waits. */
export async function gateView(
  store: Store,
  reading: ExperimentReading,
  canDecide: boolean,
): Promise<GateView> {
  const { waiting, phases } = experimentDetail(reading);
  const phase = phases.find(({ id }) => id === waiting?.phase);
  if (waiting === null || phase === undefined) return null;
  const planned = Parameters.safeParse(reading.record.config[phase.name]).data ?? {};
  const parameters = { ...planned, ...reading.record.decisions[phase.id]?.overrides };
  const event = reading.events.findLast((one) => one.type === 'phase-waiting' && one.phase === phase.id);
  return {
    phase: phase.id,
    message: waiting.message,
    advised: Waiting.safeParse(event?.detail).data?.recognised?.overrides ?? {},
    parameters: Object.fromEntries(
      Object.entries(parameters).filter(
        (entry): entry is [string, number | string] =>
          typeof entry[1] === 'number' || typeof entry[1] === 'string',
      ),
    ),
    checkpoints: await committedSteps(store, phase.key),
    latest: phase.latest,
    can_decide: canDecide,
  };
}
