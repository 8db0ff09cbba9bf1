/** System: what runs on this machine, what Temporal says, how full the disk is. */
import { useEffect, useState } from 'preact/hooks';
import type { SystemPage as System } from '../../server/api.ts';
import { bytes, percent } from '../format.ts';
import { useResource } from '../live.tsx';
import { Age, Badge, Notice, Table, Trouble } from '../parts.tsx';
import { apiAddress } from '../requests.ts';
import { experimentAddress, Link } from '../router.tsx';

/** Asked again after this time: nothing on disk says that a process has ended. */
const AGAIN_MS = 5000;

/** The page. */
export function SystemPage() {
  const [version, setVersion] = useState(0);
  useEffect(() => {
    document.title = 'System · P2R Lab';
    const timer = setInterval(() => document.hidden || setVersion((now) => now + 1), AGAIN_MS);
    return () => clearInterval(timer);
  }, []);
  const { data, error } = useResource<System>(apiAddress(['system']), version);
  if (data === null)
    return error === null ? (
      <p class="soft">Looking around…</p>
    ) : (
      <Trouble what="The system could not be read" error={error} />
    );
  const { disk, turns, processes, temporal } = data;
  const used = disk.total - disk.free;
  return (
    <>
      <h1>System</h1>
      <section>
        <h2>Disk</h2>
        <p>
          <code>{data.home}</code>: {bytes(disk.free)} free of {bytes(disk.total)}{' '}
          <progress max={disk.total} value={used} aria-label="disk used" /> {percent(used / disk.total)} used
        </p>
        <Table
          caption="This home"
          columns={['Folder', 'Size', 'Files']}
          numeric={[1, 2]}
          rows={disk.folders.map((folder) => [
            folder.name,
            bytes(folder.bytes),
            folder.files.toLocaleString('en'),
          ])}
        />
      </section>
      <section>
        <h2>Processes</h2>
        {processes.length === 0 ? (
          <Notice title="Nothing of this home runs" command="npx p2r up">
            Start the services; running experiments go on.
          </Notice>
        ) : (
          <Table
            caption="Services, trainers and served models"
            columns={['Process', 'Kind', 'For', 'Pid', 'State']}
            numeric={[3]}
            rows={processes.map((process) => [
              process.name,
              process.kind === 'model'
                ? 'served model'
                : process.kind === 'reward'
                  ? 'reward service'
                  : process.kind,
              process.owner ?? '–',
              String(process.pid),
              <Badge state={process.alive ? 'running' : 'stopped'} />,
            ])}
          />
        )}
      </section>
      {turns.length === 0 ? null : (
        <section>
          <h2>Turns</h2>
          <Table
            caption="Parts of experiments that compute on this machine, and those that wait for a slot, in order"
            columns={['Experiment', 'Part', 'Priority', 'Slot', 'Asked']}
            numeric={[2]}
            rows={turns.map((turn) => [
              <Link to={experimentAddress(turn.experiment)}>{turn.experiment}</Link>,
              turn.part,
              String(turn.priority),
              turn.slot === null ? 'waits' : String(turn.slot + 1),
              <Age time={turn.since} />,
            ])}
          />
        </section>
      )}
      <section>
        <h2>Temporal</h2>
        {temporal.message === null ? null : (
          <Notice title="Temporal says nothing" kind="error">
            {temporal.message}
          </Notice>
        )}
        {temporal.ui === null ? null : (
          <p>
            <a href={temporal.ui} rel="noreferrer">
              Open Temporal's own page
            </a>
          </p>
        )}
        {temporal.message !== null ? null : (
          <>
            <Table
              caption="Workers"
              columns={['Worker', 'Last seen', 'Slots in use']}
              rows={temporal.workers.map((worker) => [
                worker.identity,
                <Age time={worker.last_seen} />,
                worker.slots.length === 0
                  ? 'not reported'
                  : worker.slots
                      .map(({ kind, used: taken, available }) => `${kind}: ${taken} of ${taken + available}`)
                      .join(', '),
              ])}
            />
            <Table
              caption="Workflows, newest first"
              columns={['Workflow', 'Type', 'State', 'Experiment', 'Started']}
              rows={temporal.workflows.map((workflow) => [
                workflow.url === null ? (
                  workflow.id
                ) : (
                  <a href={workflow.url} rel="noreferrer">
                    {workflow.id}
                  </a>
                ),
                workflow.type,
                <Badge state={workflow.status} />,
                workflow.experiment === null ? (
                  '–'
                ) : (
                  <Link to={experimentAddress(workflow.experiment)}>{workflow.experiment}</Link>
                ),
                <Age time={workflow.started_at} />,
              ])}
            />
          </>
        )}
      </section>
    </>
  );
}
