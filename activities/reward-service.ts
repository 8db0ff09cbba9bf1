/** Keeps a phase's reward service up, as serving.ts does for the model. */
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ApplicationFailure } from '@temporalio/common';
import { IMAGE_RULES, imageRulesKey } from '../method/images.ts';
import { promptSetKey } from '../method/prompts.ts';
import { writeJson } from '../store/files.ts';
import { canonicalJson } from '../store/keys.ts';
import type { Store } from '../store/layout.ts';
import type { Study } from '../studies/study.ts';
import type { PhasePlan } from '../workflows/types.ts';
import { PROJECT } from './environment.ts';
import { beating, shouldDetach, untilCancelled } from './heartbeats.ts';
import { datasetFiles, serviceFiles } from './phase-files.ts';
import { attach, isAlive, launch, logTail, stop } from './processes.ts';
import type { RewardConfig } from './rewards/main.ts';

const MAX_QUICK_DEATHS = 5;
const QUICK_MS = 10_000;

/** Activity factory. */
export function createRewardActivities(store: Store) {
  return {
    /** Serves rewards for the phase until cancelled; a service that dies is started again and remembers its judgements. */
    async serveRewards({ study, phase }: { study: Study; phase: PhasePlan }): Promise<void> {
      const files = serviceFiles(store.phase(phase.key));
      const dataset = datasetFiles(store, phase.key);
      const config: RewardConfig = {
        role: phase.role,
        scenes: store.scenes(phase.scenes.key),
        perceptions_file: dataset.perceptions,
        model_endpoint_file: files.modelEndpoint,
        ready_file: files.rewardEndpoint,
        judgements_file: dataset.judgements,
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
        concurrency: study.evaluation.concurrency,
      };
      await writeJson(files.rewardConfig, config);
      using _beat = beating(() => ({ rewards: phase.key }));
      const supervise = async (signal: AbortSignal): Promise<void> => {
        for (let quickDeaths = 0; !signal.aborted; ) {
          const started = Date.now();
          const record =
            (await attach(files.rewardRecord)) ??
            (await launch(files.rewardRecord, {
              command: [
                process.execPath,
                path.join(PROJECT, 'activities', 'rewards', 'main.ts'),
                files.rewardConfig,
              ],
              cwd: PROJECT,
              log: files.rewardLog,
            }));
          while (!signal.aborted && (await isAlive(record))) await sleep(300);
          if (signal.aborted) return;
          quickDeaths = Date.now() - started < QUICK_MS ? quickDeaths + 1 : 0;
          if (quickDeaths >= MAX_QUICK_DEATHS) {
            const tail = await logTail(files.rewardLog);
            throw ApplicationFailure.create({
              type: 'ServerUnstartable',
              nonRetryable: true,
              message: `The reward service of ${phase.id} ends at once; see ${files.rewardLog}.`,
              details: [tail],
            });
          }
        }
      };
      try {
        await untilCancelled(supervise);
      } finally {
        if (!shouldDetach()) {
          await stop(files.rewardRecord, 5000);
          await rm(files.rewardEndpoint, { force: true });
        }
      }
    },
  };
}
