/** Histories recorded by earlier versions replay under today's workflow code: a change that would break running experiments fails here. */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { bundleWorkflowCode, Worker, type WorkflowBundle } from '@temporalio/worker';
import { beforeAll, expect, test } from 'vitest';

const HISTORIES = path.join(import.meta.dirname, 'histories');
const files = readdirSync(HISTORIES).filter((name) => name.endsWith('.json'));
let bundle: WorkflowBundle;

beforeAll(async () => {
  bundle = await bundleWorkflowCode({
    workflowsPath: path.resolve(import.meta.dirname, '..', 'workflows', 'index.ts'),
  });
}, 60_000);

function read(name: string): { events: { eventType: string }[] } {
  return JSON.parse(readFileSync(path.join(HISTORIES, name), 'utf8')) as { events: { eventType: string }[] };
}

test('every workflow type has a recorded history', () => {
  for (const type of ['experiment', 'iteration', 'phase', 'evaluation']) {
    expect(files.some((name) => name.startsWith(`${type}-`))).toBe(true);
  }
});

test.each(files)('%s replays', async (name) => {
  await Worker.runReplayHistory({ workflowBundle: bundle }, read(name), name);
});

test('a history that does not fit the code is refused', async () => {
  const name = files.find((file) => file.startsWith('phase-')) ?? '';
  const history = read(name);
  history.events = history.events.filter(
    ({ eventType }) => !eventType.includes('UPSERT_WORKFLOW_SEARCH_ATTRIBUTES'),
  );
  await expect(Worker.runReplayHistory({ workflowBundle: bundle }, history, name)).rejects.toThrow();
});
