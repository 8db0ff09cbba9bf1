/** Process entry of the reward service: `node activities/rewards/main.ts CONFIG.json`. */
import { serve } from '@hono/node-server';
import { IMAGE_RULES } from '../../method/images.ts';
import { readJson, readJsonLines, writeJson } from '../../store/files.ts';
import { readSamples } from '../../store/samples.ts';
import { Roles } from '../roles.ts';
import { RewardConfig } from './config.ts';
import { Judge } from './judge.ts';
import { Perception } from './perception.ts';
import { createRewardServer } from './server.ts';

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
  files: config.judgements_files,
  concurrency: config.concurrency,
});

const { host } = config;
const server = serve(
  { fetch: createRewardServer(judge, config.role, config.token).fetch, hostname: host, port: 0 },
  (address) => {
    const at = host.includes(':') ? `[${host}]` : host;
    void writeJson(config.ready_file, { url: `http://${at}:${address.port}` }, 0o600);
  },
);
process.once('SIGTERM', () => {
  server.close();
  process.exit(0);
});
