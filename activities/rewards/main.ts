/** Process entry of the reward service: `node activities/rewards/main.ts CONFIG.json`. */
import { randomBytes } from 'node:crypto';
import { serve } from '@hono/node-server';
import { z } from 'zod';
import { IMAGE_RULES } from '../../method/images.ts';
import { readJson, readJsonLines, writeJson } from '../../store/files.ts';
import { readSamples } from '../../store/samples.ts';
import { Roles } from '../roles.ts';
import { Judge } from './judge.ts';
import { Perception } from './perception.ts';
import { createRewardServer } from './server.ts';

/** What the service is started with. */
export const RewardConfig = z.object({
  role: z.enum(['perceiver', 'reasoner', 'direct']),
  scenes: z.string(),
  perceptions_file: z.string(),
  model_endpoint_file: z.string(),
  ready_file: z.string(),
  judgements_file: z.string(),
  context: z.string(),
  prompt_set: z.enum(['paper', 'authors', 'qwen']),
  image_rules: z.enum(['paper', 'tiny']),
  extractor: z.literal('p2r@1'),
  perceiver_max_tokens: z.int(),
  reasoner_max_tokens: z.int(),
  concurrency: z.int(),
});
export type RewardConfig = z.infer<typeof RewardConfig>;

const file = process.argv[2];
if (file === undefined) throw new Error('Usage: node activities/rewards/main.ts CONFIG.json');
const config = await readJson(file, RewardConfig);
if (config === null) throw new Error(`${file} does not exist.`);

const perceptions = await readJsonLines(config.perceptions_file, Perception);
const judge = await Judge.open({
  role: config.role,
  samples: await readSamples(config.scenes),
  context: config.context,
  perceptions: new Map(perceptions.map(({ sample_id, text }) => [sample_id, { text }])),
  extractor: config.extractor,
  roles: new Roles({
    endpointFile: config.model_endpoint_file,
    promptSet: config.prompt_set,
    imageRules: IMAGE_RULES[config.image_rules],
    perceiverMaxTokens: config.perceiver_max_tokens,
    reasonerMaxTokens: config.reasoner_max_tokens,
  }),
  file: config.judgements_file,
  concurrency: config.concurrency,
});

const token = randomBytes(16).toString('hex');
const server = serve(
  { fetch: createRewardServer(judge, config.role, token).fetch, hostname: '127.0.0.1', port: 0 },
  (address) => {
    void writeJson(config.ready_file, { url: `http://127.0.0.1:${address.port}`, token }, 0o600);
  },
);
process.once('SIGTERM', () => {
  server.close();
  process.exit(0);
});
