/** All experiments: search, filter, lineage, and a choice of some to compare. */
import { useEffect, useMemo, useState } from 'preact/hooks';
import type { ExperimentList, ExperimentSummary } from '../../server/api.ts';
import { number, partName, percent } from '../format.ts';
import { useLive, useResource } from '../live.tsx';
import { Age, Badge, Choice, Field, Notice, ProgressBar, Table, Trouble } from '../parts.tsx';
import { apiAddress } from '../requests.ts';
import { experimentAddress, go, Link, useParameters } from '../router.tsx';

const STATES = ['running', 'waiting', 'paused', 'pending', 'completed', 'failed', 'cancelled'];

/** The list. */
export function ExperimentsPage() {
  const live = useLive();
  const { data, error } = useResource<ExperimentList>(
    apiAddress(['experiments']),
    live.experiment + live.curves,
  );
  const [parameters, change] = useParameters();
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const text = parameters.get('q') ?? '';
  const state = parameters.get('state') ?? '';
  const rows = useMemo(
    () => tree(data?.experiments ?? []).filter(({ summary }) => fits(summary, text, state)),
    [data, text, state],
  );
  useEffect(() => {
    document.title = 'Experiments · P2R Lab';
  }, []);

  if (data === null)
    return error === null ? (
      <p class="soft">Reading the experiments…</p>
    ) : (
      <Trouble what="The experiments could not be read" error={error} />
    );
  if (data.experiments.length === 0 && data.unreadable.length === 0)
    return (
      <Notice title="No experiments yet" command="npx p2r run tiny-quickstart">
        Start the small one: it trains a real model on this machine in a few minutes. It appears here by
        itself.
      </Notice>
    );

  const toggle = (name: string, on: boolean) => {
    const next = new Set(chosen);
    if (on) next.add(name);
    else next.delete(name);
    setChosen(next);
  };
  const compare = () => go(`/compare?runs=${[...chosen].map(encodeURIComponent).join(',')}`);

  return (
    <>
      <h1>Experiments</h1>
      {error === null ? null : <Trouble what="The experiments could not be read again" error={error} />}
      {data.unreadable.map(({ experiment, message }) => (
        <Notice key={experiment} title={`"${experiment}" cannot be read`} kind="error">
          {message}
        </Notice>
      ))}
      {data.experiments
        .filter(({ waiting }) => waiting !== null)
        .map(({ experiment, waiting }) => (
          <Notice key={experiment} title={`${experiment} needs a decision`} kind="error">
            {partName(waiting?.phase ?? '')}: {waiting?.message}{' '}
            <Link to={experimentAddress(experiment, 'gate')}>Decide</Link>
          </Notice>
        ))}
      <form class="toolbar" onSubmit={(event) => event.preventDefault()}>
        <Field label="Search" type="search" live value={text} change={(value) => change({ q: value })} />
        <Choice
          label="State"
          value={state}
          options={[['', 'any'], ...STATES.map((name): [string, string] => [name, name])]}
          change={(value) => change({ state: value })}
        />
        <button type="button" class="primary" disabled={chosen.size < 2} onClick={compare}>
          Compare {chosen.size < 2 ? 'two or more' : chosen.size}
        </button>
      </form>
      {rows.length === 0 ? (
        <Notice title="No experiment fits">Search for less, or choose any state.</Notice>
      ) : (
        <Table
          caption={`${rows.length} of ${data.experiments.length} experiments, newest first; a fork or a continuation stands below what it builds on`}
          columns={[
            'Experiment',
            'State',
            'Progress',
            'Iteration, phase',
            'Reward',
            'Base',
            'Best',
            'Seed',
            'Updated',
          ]}
          numeric={[4, 5, 6, 7]}
          rows={rows.map(({ summary, depth }) => [
            <span class="name" data-depth={Math.min(depth, 4)}>
              <input
                type="checkbox"
                aria-label={`Choose ${summary.experiment}`}
                checked={chosen.has(summary.experiment)}
                onChange={(event) => toggle(summary.experiment, event.currentTarget.checked)}
              />
              <Link to={experimentAddress(summary.experiment)}>{summary.experiment}</Link>
              {summary.builds_on === null ? null : (
                <small
                  title={`Shares ${summary.builds_on.phases} phases with ${summary.builds_on.experiment}`}
                >
                  shares {summary.builds_on.phases}
                </small>
              )}
            </span>,
            <Badge state={summary.state} />,
            <ProgressBar done={summary.step} total={summary.total_steps} label="training steps done" />,
            placeOf(summary),
            number(summary.reward_mean),
            percent(summary.base_accuracy),
            percent(summary.best_accuracy),
            String(summary.seed),
            <Age time={summary.updated_at} />,
          ])}
        />
      )}
    </>
  );
}

/** What runs now; of a run that stands still, the iteration that it has come to. */
function placeOf({ current, iteration }: ExperimentSummary): string {
  if (current !== null) return partName(current.replace(/^evaluation\//, 'evaluation of '));
  return iteration === null ? '–' : `iteration ${iteration}`;
}

function fits(summary: ExperimentSummary, text: string, state: string): boolean {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const searched = `${summary.experiment} ${summary.study} seed${summary.seed}`.toLowerCase();
  return words.every((word) => searched.includes(word)) && (state === '' || summary.state === state);
}

/** Newest first, and each experiment directly below the one that it builds on. */
export function tree(experiments: ExperimentSummary[]): { summary: ExperimentSummary; depth: number }[] {
  const names = new Set(experiments.map(({ experiment }) => experiment));
  const children = Map.groupBy(experiments, ({ builds_on }) =>
    builds_on !== null && names.has(builds_on.experiment) ? builds_on.experiment : '',
  );
  const rows: { summary: ExperimentSummary; depth: number }[] = [];
  const add = (parent: string, depth: number) => {
    for (const summary of children.get(parent) ?? []) {
      rows.push({ summary, depth });
      add(summary.experiment, depth + 1);
    }
  };
  add('', 0);
  return rows;
}
