/** One experiment: what all its views share, and the view that the address asks for. */
import { useEffect } from 'preact/hooks';
import type { ExperimentDetail } from '../../server/api.ts';
import { duration, partName } from '../format.ts';
import { useLive, useResource } from '../live.tsx';
import { Badge, Notice, Problems, ProgressBar, Trouble } from '../parts.tsx';
import { apiAddress } from '../requests.ts';
import { experimentAddress, Link } from '../router.tsx';
import { CurvesView } from './curves.tsx';
import { EvaluationView } from './evaluation.tsx';
import { GateView } from './gate.tsx';
import { SamplesView } from './samples.tsx';

const VIEWS = [
  ['', 'Curves'],
  ['samples', 'Samples'],
  ['evaluation', 'Evaluation'],
  ['gate', 'Gate'],
] as const;

/** The experiment's page. */
export function ExperimentPage({ experiment, view }: { experiment: string; view: string }) {
  const live = useLive();
  const { data, error } = useResource<ExperimentDetail>(
    apiAddress(['experiments', experiment]),
    live.experiment + live.curves,
  );
  const waiting = data?.waiting ?? null;
  useEffect(() => {
    document.title = `${waiting === null ? '' : '(!) '}${experiment} · P2R Lab`;
  }, [experiment, waiting]);

  if (data === null)
    return error === null ? (
      <p class="soft">Reading {experiment}…</p>
    ) : error.code === 'not-found' || error.code === 'bad-request' ? (
      <Notice title="There is no such experiment" kind="error">
        {error.message} <Link to="/">All experiments</Link>
      </Notice>
    ) : (
      <Trouble what={`${experiment} could not be read`} error={error} />
    );

  return (
    <>
      <div class="title">
        <h1>{experiment}</h1>
        <Badge state={data.state} />
        <ProgressBar done={data.step} total={data.total_steps} label="training steps done" />
        {data.current === null ? null : <span class="soft">{partName(data.current)}</span>}
        {data.seconds_left === null ? null : (
          <span class="soft">about {duration(data.seconds_left)} of training left</span>
        )}
      </div>
      {waiting === null || view === 'gate' ? null : (
        <Notice title="A phase waits for your decision" kind="error">
          {partName(waiting.phase)}: {waiting.message}{' '}
          <Link to={experimentAddress(experiment, 'gate')}>Look at it and decide</Link>
        </Notice>
      )}
      {data.state === 'failed' && data.message !== null ? (
        <Notice
          title="The experiment failed"
          kind="error"
          command={`npx p2r run ${data.study} --as ${experiment}`}
        >
          {data.message} Everything that was finished is kept; run it again to go on from there.
        </Notice>
      ) : null}
      <Problems list={data.problems} />
      <nav class="tabs" aria-label={`Views of ${experiment}`}>
        {VIEWS.map(([name, title]) => (
          <Link key={name} to={experimentAddress(experiment, name)} current={view === name}>
            {title}
            {name === 'gate' && waiting !== null ? <span class="dot">needs a decision</span> : null}
          </Link>
        ))}
      </nav>
      {view === '' ? (
        <CurvesView detail={data} />
      ) : view === 'samples' ? (
        <SamplesView detail={data} />
      ) : view === 'evaluation' ? (
        <EvaluationView detail={data} />
      ) : view === 'gate' ? (
        <GateView detail={data} />
      ) : (
        <Notice title="There is no such view">
          Go back to the <Link to={experimentAddress(experiment)}>curves</Link>.
        </Notice>
      )}
    </>
  );
}
