/**
 * Records the histories of a finished experiment for the replay test:
 * `node test/record-histories.ts EXPERIMENT VERSION` (the services must be up).
 */
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { connectClient } from '../cli/commands/experiments.ts';
import { openStore } from '../store/layout.ts';
import { recordedHistory } from './support/recorded-history.ts';

const [experiment, version] = process.argv.slice(2);
if (experiment === undefined || version === undefined)
  throw new Error('Usage: record-histories.ts EXPERIMENT VERSION');
const store = openStore(process.env.P2R_HOME ?? path.resolve(import.meta.dirname, '..', '.p2r'));
const client = await connectClient(store);
for await (const { workflowId, runId, type } of client.workflow.list({
  query: `P2rExperiment = "${experiment}"`,
})) {
  const history = await client.workflow.getHandle(workflowId, runId).fetchHistory();
  const name = `${type}-${version}-${workflowId.replace(`${experiment}/`, '').replaceAll('/', '-')}.json`;
  await writeFile(path.join(import.meta.dirname, 'histories', name), recordedHistory(history));
}
await client.connection.close();
