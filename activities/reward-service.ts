/** Keeps a phase's reward service up, as serving.ts does for the model: one process, or several that share the samples. */
import { randomBytes } from 'node:crypto';
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { ApplicationFailure } from '@temporalio/common';
import { z } from 'zod';
import { IMAGE_RULES, imageRulesKey } from '../method/images.ts';
import { promptSetKey } from '../method/prompts.ts';
import { JsonLinesWriter, readJson, writeJson } from '../store/files.ts';
import { canonicalJson } from '../store/keys.ts';
import type { Store } from '../store/layout.ts';
import type { Study } from '../studies/study.ts';
import type { PhasePlan } from '../workflows/types.ts';
import { PROJECT } from './environment.ts';
import { allOrNone, beating, pause, shouldDetach, untilCancelled } from './heartbeats.ts';
import { datasetFiles, serviceFiles } from './phase-files.ts';
import { attach, isAlive, launch, logTail, stop } from './processes.ts';
import { Pulse } from './pulse.ts';
import { RewardConfig, RewardLoad } from './rewards/config.ts';

const MAX_QUICK_DEATHS = 5;
const QUICK_MS = 10_000;

/** Time between two looks at how much a process has to do, which is kept with the run. */
const LOAD_INTERVAL_MS = 5000;

/** Written by a process when it listens. */
const Ready = z.object({ url: z.string() });

/**
 * Address the service listens on: loopback, or this machine's address as the cluster's nodes see it (P2R_ADVERTISE_HOST). Every request
 * needs the token either way.
 */
function rewardHost(): string {
  return process.env.P2R_ADVERTISE_HOST ?? '127.0.0.1';
}

/** Activity factory. */
export function createRewardActivities(store: Store) {
  return {
    /** Serves rewards for the phase until cancelled; a process that dies is started again and remembers its judgements. */
    async serveRewards({ study, phase }: { study: Study; phase: PhasePlan }): Promise<void> {
      const files = serviceFiles(store.phase(phase.key));
      const dataset = datasetFiles(store, phase.key);
      // Absent in studies of earlier versions, whose workflows may still run.
      const processes = Array.from({ length: study.rewards?.processes ?? 1 }, (_, number) => number);
      const known = await readJson(files.reward(0).config, RewardConfig).catch(() => null);
      const token = known?.token ?? randomBytes(16).toString('hex');
      for (const number of processes) {
        const others = processes.filter((other) => other !== number).map(dataset.judgements);
        const config: RewardConfig = {
          role: phase.role,
          scenes: store.scenes(phase.scenes.key),
          perceptions_file: dataset.perceptions,
          model_endpoint_file: files.modelEndpoint,
          ready_file: files.reward(number).ready,
          host: rewardHost(),
          token,
          judgements_files: [dataset.judgements(number), ...others],
          context: canonicalJson({
            frozen: phase.frozen.key,
            role: phase.role,
            prompts: promptSetKey(study.prompt_set),
            images: imageRulesKey(IMAGE_RULES[study.image_rules]),
            extractor: study.extractor,
          }),
          prompt_set: study.prompt_set,
          image_rules: study.image_rules,
          extractor: study.extractor,
          perceiver_max_tokens: study.perceiver.max_response_length,
          reasoner_max_tokens: study.reasoner.max_response_length,
          concurrency: Math.max(1, Math.ceil(study.evaluation.concurrency / processes.length)),
        };
        await writeJson(files.reward(number).config, config, 0o600);
      }
      using _beat = beating(() => ({ rewards: phase.key }));
      const publish = async () => {
        const ready = await Promise.all(
          processes.map((number) => readJson(files.reward(number).ready, Ready)),
        );
        const urls = ready.flatMap((one) => one?.url ?? []);
        const [url] = urls;
        // An engine finds a sample's process by its place in the list: it is published whole or not at all.
        if (url !== undefined && urls.length === processes.length)
          await writeJson(files.rewardEndpoint, { url, urls, token }, 0o600);
      };
      const keepUp = async (number: number, _: number, signal: AbortSignal): Promise<void> => {
        const own = files.reward(number);
        const loads = new JsonLinesWriter(own.load);
        let published = '';
        for (let quickDeaths = 0; !signal.aborted; ) {
          const started = Date.now();
          const record =
            (await attach(own.record)) ??
            (await launch(own.record, {
              command: [process.execPath, path.join(PROJECT, 'activities', 'rewards', 'main.ts'), own.config],
              cwd: PROJECT,
              log: own.log,
            }));
          let pulse: Pulse | null = null;
          for (let looked = Date.now(); !signal.aborted && (await isAlive(record)); ) {
            await pause(published === '' ? 200 : 1000, signal);
            const url = (await readJson(own.ready, Ready).catch(() => null))?.url ?? '';
            if (url !== published) {
              published = url;
              pulse = new Pulse(new URL('/healthz', url));
              await publish();
            }
            if (pulse?.isLost) {
              console.error(
                `The reward service of ${phase.id} does not answer any more: it is started again.`,
              );
              await stop(own.record, 2000);
              break;
            }
            if (url === '' || Date.now() - looked < LOAD_INTERVAL_MS) continue;
            looked = Date.now();
            const load = await readLoad(url);
            if (load !== null) await loads.append({ time: looked / 1000, ...load });
          }
          if (signal.aborted) return;
          quickDeaths = Date.now() - started < QUICK_MS ? quickDeaths + 1 : 0;
          if (quickDeaths >= MAX_QUICK_DEATHS) {
            const tail = await logTail(own.log);
            throw ApplicationFailure.create({
              type: 'ServerUnstartable',
              nonRetryable: true,
              message: `The reward service of ${phase.id} ends at once; see ${own.log}.`,
              details: [tail],
            });
          }
        }
      };
      try {
        await untilCancelled((signal) => allOrNone(processes, signal, keepUp));
      } finally {
        if (!(await shouldDetach())) {
          await Promise.all(processes.map((number) => stop(files.reward(number).record, 5000)));
          await rm(files.rewardEndpoint, { force: true });
          for (const number of processes) await rm(files.reward(number).ready, { force: true });
        }
      }
    },
  };
}

/** How much a process has to do, or null when it does not say. */
async function readLoad(url: string): Promise<RewardLoad | null> {
  const response = await fetch(`${url}/healthz`, { signal: AbortSignal.timeout(2000) }).catch(() => null);
  const load = RewardLoad.safeParse(await response?.json().catch(() => null));
  return load.success ? load.data : null;
}
