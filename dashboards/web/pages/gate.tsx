/** The gate: why a phase waits, what another try would reuse and run, and the decision. */
import { useEffect, useRef, useState } from 'preact/hooks';
import type { ExperimentDetail, GateView as Gate, GatePlan } from '../../server/api.ts';
import { number, partName } from '../format.ts';
import { useLive, useResource } from '../live.tsx';
import { Badge, Choice, Field, Notice, Table, Trouble } from '../parts.tsx';
import { apiAddress, post, RequestError } from '../requests.ts';

type Wish = { overrides: Record<string, number | string>; fromCheckpoint: number | null };
type Decision = { name: 'retry' | 'skip' | 'abort'; title: string; warning: string; body: object };

/** The view. */
export function GateView({ detail }: { detail: ExperimentDetail }) {
  const live = useLive();
  const { data, error } = useResource<{ gate: Gate }>(
    apiAddress(['experiments', detail.experiment, 'gate']),
    live.experiment,
  );
  if (error !== null) return <Trouble what="The gate could not be read" error={error} />;
  if (data === null) return <p class="soft">Looking…</p>;
  if (data.gate === null)
    return (
      <Notice title="Nothing waits for a decision">
        When a phase fails, or ends without meeting the study's acceptance rules, it waits here.
      </Notice>
    );
  return <Waiting key={data.gate.phase} experiment={detail.experiment} gate={data.gate} />;
}

function Waiting({ experiment, gate }: { experiment: string; gate: NonNullable<Gate> }) {
  const [edited, setEdited] = useState<Record<string, string>>({});
  const [from, setFrom] = useState('');
  const [decision, setDecision] = useState<Decision | null>(null);
  const [said, setSaid] = useState<{ ok: boolean; text: string } | null>(null);
  const address = (name: string) => apiAddress(['experiments', experiment, 'gate', name]);
  const wish: Wish = {
    overrides: Object.fromEntries(
      Object.entries(edited)
        .filter(([name, text]) => text !== '' && text !== String(gate.parameters[name]))
        .map(([name, text]) => [name, Number.isNaN(Number(text)) ? text : Number(text)]),
    ),
    fromCheckpoint: from === '' ? null : Number(from),
  };
  const listed = (values: Wish['overrides']) =>
    Object.entries(values).map(([name, value]) => `${name} = ${value}`);
  const changes = listed(wish.overrides);
  const advised = listed(gate.advised);

  const carryOut = async ({ name, body }: Decision) => {
    setDecision(null);
    try {
      await post(address(name), body);
      setSaid({ ok: true, text: `Done: ${name}. The page follows what comes next by itself.` });
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      setSaid({ ok: false, text: error.message });
    }
  };

  return (
    <section class="gate" aria-labelledby="gate-title">
      <h2 id="gate-title">{partName(gate.phase)} waits for your decision</h2>
      <p class="gate-message" role="alert">
        {gate.message}
      </p>
      {gate.can_decide ? null : (
        <Notice title="This page may only look">
          To decide here, open the address that "npx p2r up" prints: it holds the token. Or decide with "npx
          p2r retry", "skip" or "abort".
        </Notice>
      )}
      {gate.latest === null ? null : (
        <Table
          caption="Its last step"
          columns={Object.keys(gate.latest)
            .filter((name) => name !== 'time')
            .map((name) => name.replaceAll('_', ' '))}
          rows={[
            Object.entries(gate.latest)
              .filter(([name]) => name !== 'time')
              .map(([, value]) => number(value)),
          ]}
        />
      )}
      <h3>Try again with other parameters</h3>
      {advised.length === 0 ? null : (
        <p>
          <button
            type="button"
            onClick={() =>
              setEdited({
                ...edited,
                ...Object.fromEntries(
                  Object.entries(gate.advised).map(([name, value]) => [name, String(value)]),
                ),
              })
            }
          >
            Fill in the advice: {advised.join(', ')}
          </button>
        </p>
      )}
      <form class="toolbar parameters" onSubmit={(event) => event.preventDefault()}>
        {Object.entries(gate.parameters).map(([name, value]) => (
          <Field
            key={name}
            label={name.replaceAll('_', ' ')}
            value={edited[name] ?? String(value)}
            live
            change={(text) => setEdited({ ...edited, [name]: text })}
          />
        ))}
        <Choice
          label="go on from"
          value={from}
          options={[
            ['', changes.length === 0 ? 'its newest checkpoint' : 'its start'],
            ...gate.checkpoints.map((step): [string, string] => [String(step), `step ${step}`]),
          ]}
          change={setFrom}
        />
      </form>
      <Plan address={address('plan')} wish={wish} allowed={gate.can_decide} />
      <div class="actions">
        <button
          type="button"
          class="primary"
          disabled={!gate.can_decide}
          onClick={() =>
            setDecision({
              name: 'retry',
              title: `Try ${partName(gate.phase)} again?`,
              warning:
                changes.length === 0
                  ? 'With the same parameters.'
                  : `With ${changes.join(', ')}. What was computed with the old parameters is kept.`,
              body: wish,
            })
          }
        >
          Retry
        </button>
        <button
          type="button"
          disabled={!gate.can_decide || gate.checkpoints.length === 0}
          onClick={() =>
            setDecision({
              name: 'skip',
              title: 'Go on with its newest checkpoint?',
              warning: `What follows builds on step ${gate.checkpoints.at(-1)} of this phase.`,
              body: { use: 'checkpoint' },
            })
          }
        >
          Skip, keep its checkpoint
        </button>
        <button
          type="button"
          disabled={!gate.can_decide}
          onClick={() =>
            setDecision({
              name: 'skip',
              title: 'Go on without this phase?',
              warning: 'What follows builds on the model that this phase began with.',
              body: { use: 'start' },
            })
          }
        >
          Skip the phase
        </button>
        <button
          type="button"
          class="danger"
          disabled={!gate.can_decide}
          onClick={() =>
            setDecision({
              name: 'abort',
              title: `End ${experiment} here?`,
              warning: 'Nothing is deleted; "npx p2r rerun" can take it up again.',
              body: {},
            })
          }
        >
          Abort
        </button>
      </div>
      {said === null ? null : (
        <p class="said-back" data-ok={String(said.ok)} role="status">
          {said.text}
        </p>
      )}
      {decision === null ? null : (
        <Confirm
          decision={decision}
          cancel={() => setDecision(null)}
          confirm={() => void carryOut(decision)}
        />
      )}
    </section>
  );
}

/** What would be reused and run; asked for again when the wish changes. */
function Plan({ address, wish, allowed }: { address: string; wish: Wish; allowed: boolean }) {
  const [plan, setPlan] = useState<GatePlan | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const key = JSON.stringify(wish);
  useEffect(() => {
    if (!allowed) return;
    let current = true;
    const timer = setTimeout(() => {
      post<GatePlan>(address, wish).then(
        (answer) => {
          if (!current) return;
          setPlan(answer);
          setProblem(null);
        },
        (error: Error) => {
          if (current) setProblem(error.message);
        },
      );
    }, 200);
    return () => {
      current = false;
      clearTimeout(timer);
    };
  }, [address, key, allowed]);
  if (problem !== null)
    return (
      <p class="said-back" data-ok="false" role="status">
        {problem}
      </p>
    );
  if (plan === null) return null;
  if (plan.refused !== null)
    return (
      <p class="said-back" data-ok="false" role="status">
        {plan.refused}
      </p>
    );
  return (
    <Table
      caption="What a retry would do"
      columns={['Part', 'Action', 'Why']}
      rows={plan.steps.map((step) => [
        partName(step.id),
        <Badge state={step.action} />,
        `${step.why}${step.warning === null ? '' : ` (${step.warning})`}`,
      ])}
    />
  );
}

function Confirm(props: { decision: Decision; cancel: () => void; confirm: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current?.showModal(), []);
  return (
    <dialog ref={dialog} onCancel={props.cancel} aria-labelledby="confirm-title">
      <h2 id="confirm-title">{props.decision.title}</h2>
      <p>{props.decision.warning}</p>
      <div class="actions">
        <button type="button" onClick={props.cancel}>
          Not now
        </button>
        <button
          type="button"
          class={props.decision.name === 'abort' ? 'danger' : 'primary'}
          onClick={props.confirm}
        >
          Yes, {props.decision.name}
        </button>
      </div>
    </dialog>
  );
}
