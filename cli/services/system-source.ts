/** What the dashboard's system page asks of this machine and of Temporal. */
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { isAlive, ProcessRecord } from '../../activities/processes.ts';
import type { ProcessView, TemporalView, WorkerView } from '../../dashboards/server/api.ts';
import type { SystemSource } from '../../dashboards/server/system.ts';
import { readJson } from '../../store/files.ts';
import type { Store } from '../../store/layout.ts';
import { TASK_QUEUE, temporalTarget } from '../../temporal.config.ts';
import { SEARCH_ATTRIBUTES } from '../../workflows/search-attributes.ts';
import { readServices } from './state.ts';

/** Workflows that are listed, newest first. */
const MOST_WORKFLOWS = 100;
/** An answer that takes longer is none. */
const PATIENCE_MS = 3000;

/** Opens the source of one home. */
export function createSystemSource(store: Store): SystemSource & { close(): Promise<void> } {
  let connected: { address: string; connection: Connection } | null = null;

  async function connect(address: string): Promise<Connection> {
    if (connected?.address === address) return connected.connection;
    await connected?.connection.close();
    connected = null;
    const connection = await Connection.connect({
      ...temporalTarget(address).connection,
      connectTimeout: PATIENCE_MS,
    });
    connected = { address, connection };
    return connection;
  }

  async function temporal(): Promise<TemporalView> {
    const services = await readServices(store).catch(() => null);
    const view: TemporalView = {
      address: services?.temporal.address ?? process.env.TEMPORAL_ADDRESS ?? null,
      ui: services?.temporal.ui ?? null,
      message: null,
      workers: [],
      workflows: [],
    };
    if (view.address === null) return { ...view, message: 'Temporal does not run: start it with "p2r up".' };
    try {
      const connection = await connect(view.address);
      const { namespace } = temporalTarget(view.address);
      await connection.withDeadline(Date.now() + PATIENCE_MS, async () => {
        view.workers = await workers(connection, namespace);
        view.workflows = await workflows(connection, namespace, view.ui);
      });
      return view;
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      return {
        ...view,
        message: `Temporal at ${view.address} does not answer (${why}): look at "p2r doctor".`,
      };
    }
  }

  async function processes(): Promise<ProcessView[]> {
    const services = await readServices(store).catch(() => null);
    const found: ProcessView[] = [];
    const add = async (
      name: string,
      kind: ProcessView['kind'],
      owner: string | null,
      record: ProcessRecord | null,
    ) => {
      if (record !== null)
        found.push({ name, kind, owner, pid: record.pid, alive: await isAlive(record).catch(() => false) });
    };
    await add('supervisor', 'service', null, services?.supervisor ?? null);
    for (const [name, record] of Object.entries(services?.children ?? {}))
      await add(name, 'service', null, record);
    for (const root of [store.phases, store.evaluations]) {
      for (const key of await names(root)) {
        for (const file of await names(path.join(root, key, 'services'))) {
          const name = /^(model|reward)\.process\.json$/.exec(file)?.[1];
          if (name === 'model' || name === 'reward')
            await add(name, name, key, await read(path.join(root, key, 'services', file)));
        }
        for (const attempt of await names(path.join(root, key, 'attempts')))
          await add(
            `attempt ${attempt}`,
            'trainer',
            key,
            await read(path.join(root, key, 'attempts', attempt, 'process.json')),
          );
      }
    }
    // What has ended is of interest only for services, which should not have.
    return found.filter(({ kind, alive }) => kind === 'service' || alive);
  }

  return {
    processes,
    temporal,
    async close() {
      await connected?.connection.close();
    },
  };
}

const names = (directory: string) => readdir(directory).catch(() => [] as string[]);
const read = (file: string) => readJson(file, ProcessRecord).catch(() => null);

/** Workers of our task queue: who polls, and where the server reports it, how many of its slots are taken. */
async function workers(connection: Connection, namespace: string): Promise<WorkerView[]> {
  const found = new Map<string, WorkerView>();
  for (const taskQueueType of [1, 2]) {
    const { pollers } = await connection.workflowService.describeTaskQueue({
      namespace,
      taskQueue: { name: TASK_QUEUE },
      taskQueueType,
    });
    for (const { identity, lastAccessTime } of pollers ?? []) {
      const seconds = lastAccessTime?.seconds;
      const seen = seconds == null ? null : new Date(Number(seconds) * 1000).toISOString();
      const known = found.get(identity ?? '');
      if (identity != null && (known?.last_seen ?? '') < (seen ?? ''))
        found.set(identity, { identity, last_seen: seen, slots: known?.slots ?? [] });
    }
  }
  // Older servers do not know of worker heartbeats.
  const reported = await connection.workflowService
    .listWorkers({ namespace, pageSize: 50 })
    .catch(() => ({ workersInfo: [] }));
  for (const { workerHeartbeat: beat } of reported.workersInfo ?? []) {
    const worker = found.get(beat?.workerIdentity ?? '');
    if (beat == null || worker === undefined) continue;
    worker.slots = [
      { kind: 'workflow tasks', info: beat.workflowTaskSlotsInfo },
      { kind: 'activities', info: beat.activityTaskSlotsInfo },
    ].flatMap(({ kind, info }) =>
      info == null
        ? []
        : [{ kind, used: info.currentUsedSlots ?? 0, available: info.currentAvailableSlots ?? 0 }],
    );
  }
  return [...found.values()];
}

async function workflows(
  connection: Connection,
  namespace: string,
  ui: string | null,
): Promise<TemporalView['workflows']> {
  const client = new Client({ connection, namespace });
  const found: TemporalView['workflows'] = [];
  for await (const workflow of client.workflow.list({ pageSize: MOST_WORKFLOWS })) {
    found.push({
      id: workflow.workflowId,
      run_id: workflow.runId,
      type: workflow.type,
      status: workflow.status.name.toLowerCase(),
      experiment: workflow.typedSearchAttributes.get(SEARCH_ATTRIBUTES.experiment) ?? null,
      started_at: workflow.startTime.toISOString(),
      url:
        ui === null
          ? null
          : `${ui}/namespaces/${encodeURIComponent(namespace)}/workflows/${encodeURIComponent(workflow.workflowId)}/${workflow.runId}/history`,
    });
    if (found.length >= MOST_WORKFLOWS) break;
  }
  return found;
}
