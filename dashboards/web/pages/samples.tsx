/** Rollouts as a gallery: what was seen, what was answered, how it was judged. One sample over training as a strip. */
import type { ExperimentDetail, RolloutPage, RolloutView } from '../../server/api.ts';
import { number, partName } from '../format.ts';
import { useLive, useResource } from '../live.tsx';
import { BoxedImage, Crops, type Shown } from '../overlay.tsx';
import { Choice, Field, Notice, Toggle, Trouble } from '../parts.tsx';
import { apiAddress } from '../requests.ts';
import { experimentAddress, Link, useParameters } from '../router.tsx';

const ORDERS: [string, string][] = [
  ['', 'newest step'],
  ['step', 'oldest step'],
  ['reward', 'lowest reward'],
  ['-reward', 'highest reward'],
  ['advantage', 'lowest advantage'],
  ['-advantage', 'highest advantage'],
  ['iou', 'lowest IoU'],
  ['-iou', 'highest IoU'],
  ['hit_rate', 'lowest hit rate'],
  ['-hit_rate', 'highest hit rate'],
  ['box_count', 'fewest boxes'],
  ['-box_count', 'most boxes'],
  ['-box_size', 'largest boxes'],
  ['-disagreement', 'most disagreement in the group'],
  ['kind', 'kind of question'],
];

/** Filters that go from the address to the server as they are. */
const FILTERS = [
  'phase',
  'step',
  'kind',
  'correct',
  'hit',
  'boxes',
  'iou_min',
  'iou_max',
  'reward_min',
  'reward_max',
  'disagreement_min',
  'sample',
] as const;

const SIZES: Record<string, string> = { s: '220px', m: '320px', l: '520px', xl: '960px' };
/** Cards of a page of the gallery, and of a strip. */
const PAGE = 24;
const STRIP = 100;

/** The view. */
export function SamplesView({ detail }: { detail: ExperimentDetail }) {
  const live = useLive();
  const [parameters, change] = useParameters();
  const value = (name: string) => parameters.get(name) ?? '';
  const order = value('order');
  const offset = Number(value('offset')) || 0;
  const sample = value('sample');
  const size = SIZES[value('size')] === undefined ? 'm' : value('size');
  const shown: Shown = { predicted: value('predicted') !== 'off', truth: value('truth') !== 'off' };
  const crops = value('crops') !== 'off';
  const page = sample === '' ? PAGE : STRIP;
  const { data, error, loading } = useResource<RolloutPage>(
    apiAddress(['experiments', detail.experiment, 'rollouts'], {
      ...Object.fromEntries(FILTERS.map((name) => [name, value(name)])),
      order: sample !== '' ? 'step' : order.replace('-', '') || 'step',
      descending: sample === '' && (order === '' || order.startsWith('-')),
      offset,
      limit: page,
    }),
    live.curves,
  );
  const filter = (name: string) => (text: string) => change({ [name]: text, offset: null });

  return (
    <>
      <form class="toolbar" onSubmit={(event) => event.preventDefault()}>
        <Choice
          label="Phase"
          value={value('phase')}
          options={[['', 'all'], ...detail.phases.map(({ id }): [string, string] => [id, partName(id)])]}
          change={filter('phase')}
        />
        <Field label="Step" type="number" min="1" value={value('step')} change={filter('step')} />
        <Choice
          label="Kind"
          value={value('kind')}
          options={[['', 'all'], ...(data?.kinds ?? []).map((kind): [string, string] => [kind, kind])]}
          change={filter('kind')}
        />
        <Choice
          label="Verdict"
          value={value('correct')}
          options={[
            ['', 'all'],
            ['true', 'right'],
            ['false', 'wrong'],
          ]}
          change={filter('correct')}
        />
        <Choice
          label="Hit"
          value={value('hit')}
          options={[
            ['', 'all'],
            ['true', 'every true box'],
            ['false', 'not every one'],
          ]}
          change={filter('hit')}
        />
        <Field label="Boxes" type="number" min="0" value={value('boxes')} change={filter('boxes')} />
        <Field
          label="IoU from"
          type="number"
          min="0"
          max="1"
          step="0.05"
          value={value('iou_min')}
          change={filter('iou_min')}
        />
        <Field
          label="IoU to"
          type="number"
          min="0"
          max="1"
          step="0.05"
          value={value('iou_max')}
          change={filter('iou_max')}
        />
        <Field
          label="Reward from"
          type="number"
          step="0.1"
          value={value('reward_min')}
          change={filter('reward_min')}
        />
        <Field
          label="Reward to"
          type="number"
          step="0.1"
          value={value('reward_max')}
          change={filter('reward_max')}
        />
        <Field
          label="Disagreement from"
          type="number"
          min="0"
          step="0.05"
          value={value('disagreement_min')}
          change={filter('disagreement_min')}
        />
        <Choice label="Order" value={order} options={ORDERS} change={filter('order')} />
        <Choice
          label="Size"
          value={size}
          options={[
            ['s', 'small'],
            ['m', 'medium'],
            ['l', 'large'],
            ['xl', 'full'],
          ]}
          change={(text) => change({ size: text })}
        />
        <Toggle
          label="predicted boxes"
          swatch="predicted"
          on={shown.predicted}
          change={(on) => change({ predicted: on ? null : 'off' })}
        />
        <Toggle
          label="true boxes"
          swatch="truth"
          on={shown.truth}
          change={(on) => change({ truth: on ? null : 'off' })}
        />
        <Toggle label="crops" on={crops} change={(on) => change({ crops: on ? null : 'off' })} />
      </form>
      {sample === '' ? null : (
        <p class="strip-title">
          The sample <code>{sample}</code> over training, oldest step first.{' '}
          <Link to={experimentAddress(detail.experiment, 'samples')}>All samples</Link>
        </p>
      )}
      {error === null ? null : <Trouble what="The rollouts could not be read" error={error} />}
      {data === null ? (
        error === null ? (
          <p class="soft">Reading the rollouts…</p>
        ) : null
      ) : data.total === 0 ? (
        <Notice title={Object.keys(data.steps).length === 0 ? 'No rollouts yet' : 'No rollout fits'}>
          {Object.keys(data.steps).length === 0
            ? 'They appear here with the first training step.'
            : 'Ask for less: take a filter out.'}
        </Notice>
      ) : (
        <>
          <Pages
            total={data.total}
            offset={offset}
            page={page}
            loading={loading}
            go={(next) => change({ offset: next || null })}
          />
          <ul class={`gallery${sample === '' ? '' : ' strip'}`} data-size={size} data-total={data.total}>
            {data.rollouts.map((rollout) => (
              <li key={`${rollout.phase} ${rollout.step} ${rollout.sample_id} ${rollout.rollout}`}>
                <RolloutCard rollout={rollout} experiment={detail.experiment} shown={shown} crops={crops} />
              </li>
            ))}
          </ul>
          <Pages
            total={data.total}
            offset={offset}
            page={page}
            loading={loading}
            go={(next) => change({ offset: next || null })}
          />
        </>
      )}
    </>
  );
}

function Pages(props: {
  total: number;
  offset: number;
  page: number;
  loading: boolean;
  go: (offset: number) => void;
}) {
  const { total, offset, page } = props;
  return (
    <nav class="pages" aria-label="Pages of the gallery">
      <button type="button" disabled={offset === 0} onClick={() => props.go(Math.max(0, offset - page))}>
        Previous
      </button>
      <span aria-live="polite">
        {offset + 1} to {Math.min(total, offset + page)} of {total.toLocaleString('en')}
        {props.loading ? ' …' : ''}
      </span>
      <button type="button" disabled={offset + page >= total} onClick={() => props.go(offset + page)}>
        Next
      </button>
    </nav>
  );
}

function RolloutCard(props: { rollout: RolloutView; experiment: string; shown: Shown; crops: boolean }) {
  const { rollout, shown } = props;
  const { sample } = rollout;
  return (
    <article class="card">
      <header>
        <span class="role" data-role={rollout.role}>
          {partName(rollout.phase)}
        </span>
        <span>
          step {rollout.step}, rollout {rollout.rollout}
        </span>
        <Verdict correct={rollout.correct} />
      </header>
      {sample === null ? (
        <p class="soft">The image of {rollout.sample_id} is not in this home.</p>
      ) : (
        <BoxedImage sample={sample} boxes={rollout.boxes} shown={shown} />
      )}
      <dl class="numbers">
        <div>
          <dt>reward</dt>
          <dd>{number(rollout.reward)}</dd>
        </div>
        <div>
          <dt>advantage</dt>
          <dd>{number(rollout.advantage)}</dd>
        </div>
        <div>
          <dt>IoU</dt>
          <dd>{number(rollout.iou)}</dd>
        </div>
        <div>
          <dt>hit rate</dt>
          <dd>{number(rollout.hit_rate)}</dd>
        </div>
        <div>
          <dt>group's spread</dt>
          <dd>{number(rollout.disagreement)}</dd>
        </div>
      </dl>
      {sample !== null && props.crops ? <Crops sample={sample} crops={rollout.crops} /> : null}
      {sample === null ? null : (
        <p class="question">
          {sample.question} <span class="soft">(answer: {sample.answer})</span>
        </p>
      )}
      <Said title={rollout.role} text={rollout.completion} />
      {rollout.reasoner_text === null ? null : <Said title="frozen reasoner" text={rollout.reasoner_text} />}
      <footer>
        <Link
          to={experimentAddress(props.experiment, 'samples', {
            sample: rollout.sample_id,
          })}
        >
          This sample over training
        </Link>
      </footer>
    </article>
  );
}

/** Right or wrong, as a word. */
export function Verdict({ correct }: { correct: boolean | null }) {
  if (correct === null) return <span class="badge">not judged</span>;
  return (
    <span class="badge" data-state={correct ? 'completed' : 'failed'}>
      {correct ? 'right' : 'wrong'}
    </span>
  );
}

/** What a model wrote, as it wrote it. */
export function Said({ title, text }: { title: string; text: string }) {
  return (
    <section class="said">
      <h3>{title}</h3>
      <pre>{text}</pre>
    </section>
  );
}
