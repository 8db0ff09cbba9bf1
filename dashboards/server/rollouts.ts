/**
 * Rollouts of all phases, queried with DuckDB. Their numbers are read into one table in memory when a phase is first looked at, so that a
 * filter over all of them does not open a thousand files; the texts of the few that are shown are read from the files.
 */
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { type DuckDBConnection, DuckDBInstance, type DuckDBValue } from '@duckdb/node-api';
import { z } from 'zod';
import { IMAGE_RULES, planCrops } from '../../method/image-rules.ts';
import type { ExperimentRecord } from '../../store/experiments.ts';
import { readJson } from '../../store/files.ts';
import type { Store } from '../../store/layout.ts';
import type { BoxView, RolloutPage, RolloutView, SampleView } from './api.ts';
import type { Samples } from './samples.ts';
import { fileSignature } from './tail.ts';

/** Columns to sort by. */
export const ROLLOUT_ORDERS = [
  'step',
  'reward',
  'advantage',
  'iou',
  'hit_rate',
  'box_count',
  'box_size',
  'disagreement',
  'kind',
] as const;

/** Which rollouts, in which order. Every part that is left out allows everything. */
export type RolloutQuery = {
  phase?: string | undefined;
  step?: number | undefined;
  sample?: string | undefined;
  kind?: string | undefined;
  correct?: boolean | undefined;
  hit?: boolean | undefined;
  boxes?: number | undefined;
  iou_min?: number | undefined;
  iou_max?: number | undefined;
  reward_min?: number | undefined;
  reward_max?: number | undefined;
  disagreement_min?: number | undefined;
  order: (typeof ROLLOUT_ORDERS)[number];
  descending: boolean;
  offset: number;
  limit: number;
};

/** Numeric columns of a rollouts file (docs/metrics.md); an engine without boxes leaves some out. */
const NUMBERS = ['reward', 'advantage', 'hit_rate', 'iou', 'box_count', 'box_size'] as const;

const PhaseFile = z.looseObject({
  config: z.looseObject({ scenes: z.looseObject({ key: z.string() }).optional() }).optional(),
});

const quoted = (text: string) => `'${text.replaceAll("'", "''")}'`;

/** The rollouts of one home. */
export type Rollouts = ReturnType<typeof openRollouts>;

/** Opens a home's rollouts; nothing is read before the first question. */
export function openRollouts(store: Store, samples: Samples) {
  let opened: Promise<DuckDBConnection> | null = null;
  const files = new Map<string, Map<string, string>>();
  let working: Promise<unknown> = Promise.resolve();

  async function open(): Promise<DuckDBConnection> {
    const connection = await (await DuckDBInstance.create(':memory:', { threads: '2' })).connect();
    await connection.run(
      `CREATE TABLE rollouts (phase_key VARCHAR, file VARCHAR, step INTEGER, sample_id VARCHAR, rollout INTEGER, kind VARCHAR,
       correct BOOLEAN, ${NUMBERS.map((name) => `${name} DOUBLE`).join(', ')}, disagreement DOUBLE)`,
    );
    return connection;
  }

  async function connection(): Promise<DuckDBConnection> {
    opened ??= open();
    return opened;
  }

  /** Reads the files of a phase that are new, or that were written again by a resumed attempt. */
  async function refresh(phaseKey: string): Promise<void> {
    const directory = store.rollouts(phaseKey);
    const names = await readdir(directory).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return [];
      throw error;
    });
    const known = files.get(phaseKey) ?? new Map<string, string>();
    const fresh: string[] = [];
    for (const name of names) {
      if (!/^step-\d+\.parquet$/.test(name)) continue;
      const signature = await fileSignature(path.join(directory, name));
      if (known.get(name) === signature) continue;
      known.set(name, signature);
      fresh.push(name);
    }
    if (fresh.length === 0) return;
    const db = await connection();
    const paths = fresh.map((name) => path.join(directory, name));
    try {
      await ingest(db, phaseKey, paths);
      files.set(phaseKey, known);
    } catch (error) {
      files.delete(phaseKey);
      throw error;
    }
  }

  async function ingest(db: DuckDBConnection, phaseKey: string, paths: string[]): Promise<void> {
    const source = `read_parquet([${paths.map(quoted).join(',')}], union_by_name = true, filename = true)`;
    const described = await db.runAndReadAll(`DESCRIBE SELECT * FROM ${source} LIMIT 0`);
    const present = new Set(described.getRowObjects().map((row) => String(row.column_name)));
    const column = (name: string, type: string) => (present.has(name) ? `"${name}"` : `NULL::${type}`);
    await db.run(`DELETE FROM rollouts WHERE file IN (${paths.map(quoted).join(',')})`);
    await db.run(
      `INSERT INTO rollouts SELECT ${quoted(phaseKey)}, filename, step, sample_id, rollout, NULL, ${column('correct', 'BOOLEAN')},
       ${NUMBERS.map((name) => column(name, 'DOUBLE')).join(', ')},
       stddev_pop(${column('reward', 'DOUBLE')}) OVER (PARTITION BY filename, step, sample_id) FROM ${source}`,
    );
    const kinds = await samples.kinds(await datasetOf(phaseKey));
    if (kinds.size === 0) return;
    await db.run('CREATE OR REPLACE TEMP TABLE kinds (sample_id VARCHAR, kind VARCHAR)');
    const appender = await db.createAppender('kinds');
    for (const [id, kind] of kinds) {
      appender.appendVarchar(id);
      appender.appendVarchar(kind);
      appender.endRow();
    }
    appender.closeSync();
    await db.run(
      `UPDATE rollouts SET kind = kinds.kind FROM kinds
       WHERE rollouts.sample_id = kinds.sample_id AND phase_key = ${quoted(phaseKey)} AND rollouts.kind IS NULL`,
    );
  }

  async function datasetOf(phaseKey: string): Promise<string | null> {
    const phase = await readJson(store.phaseFile(phaseKey), PhaseFile).catch(() => null);
    return phase?.config?.scenes?.key ?? null;
  }

  async function answer(record: ExperimentRecord, query: RolloutQuery): Promise<RolloutPage> {
    const phases = record.phases.filter(({ id }) => query.phase === undefined || id === query.phase);
    for (const { key } of phases) await refresh(key);
    const db = await connection();
    const within = `phase_key IN (${[quoted(''), ...phases.map(({ key }) => quoted(key))].join(',')})`;
    const { where, values } = conditions(query);
    const condition = [within, ...where].join(' AND ');
    const direction = query.descending ? 'DESC' : 'ASC';
    // Steps are those of the whole run: the phases' own steps begin at 1 again.
    const place = `list_position([${phases.map(({ key }) => quoted(key)).join(',')}], phase_key)`;
    const order =
      query.order === 'step'
        ? `${place} ${direction}, step ${direction}`
        : `${query.order} ${direction} NULLS LAST, ${place}, step`;
    const counted = await db.runAndReadAll(
      `SELECT count(*)::INTEGER AS total FROM rollouts WHERE ${condition}`,
      values,
    );
    const found = await db.runAndReadAll(
      `SELECT * FROM rollouts WHERE ${condition}
       ORDER BY ${order}, sample_id, rollout
       LIMIT ${query.limit} OFFSET ${query.offset}`,
      values,
    );
    const facets = await db.runAndReadAll(
      `SELECT phase_key, min(step) AS first, max(step) AS last, list(DISTINCT kind) AS kinds FROM rollouts WHERE ${within} GROUP BY phase_key`,
    );
    const rows = found.getRowObjectsJson();
    const texts = await readTexts(db, rows);
    const page: RolloutPage = {
      total: Number(counted.getRowObjects()[0]?.total ?? 0),
      offset: query.offset,
      rollouts: [],
      kinds: [],
      steps: {},
    };
    for (const row of rows) {
      const phase = record.phases.find(({ key }) => key === row.phase_key);
      const text = texts.get(identity(row));
      if (phase === undefined || text === undefined) continue;
      const sample = await samples.find(String(row.sample_id), await datasetOf(phase.key));
      page.rollouts.push(rolloutView({ id: phase.id, role: phase.name }, row, text, sample, record));
    }
    const kinds = new Set<string>();
    for (const facet of facets.getRowObjectsJson()) {
      const phase = record.phases.find(({ key }) => key === facet.phase_key);
      if (phase !== undefined) page.steps[phase.id] = [Number(facet.first), Number(facet.last)];
      for (const kind of facet.kinds as (string | null)[]) if (kind !== null) kinds.add(kind);
    }
    page.kinds = [...kinds].sort();
    return page;
  }

  async function readTexts(
    db: DuckDBConnection,
    rows: Record<string, unknown>[],
  ): Promise<Map<string, RolloutText>> {
    const texts = new Map<string, RolloutText>();
    const paths = [...new Set(rows.map((row) => String(row.file)))];
    if (paths.length === 0) return texts;
    const wanted = rows.map((row) => quoted(identity(row))).join(',');
    const found = await db.runAndReadAll(
      `SELECT * FROM read_parquet([${paths.map(quoted).join(',')}], union_by_name = true, filename = true)
       WHERE concat_ws(' ', filename, step, sample_id, rollout) IN (${wanted})`,
    );
    for (const row of found.getRowObjectsJson()) {
      texts.set(identity({ ...row, file: row.filename }), RolloutText.parse(row));
    }
    return texts;
  }

  return {
    /** The rollouts of an experiment that fit the query. Throws when a file cannot be read. */
    query(record: ExperimentRecord, query: RolloutQuery): Promise<RolloutPage> {
      const next = working.then(() => answer(record, query));
      working = next.catch(() => undefined);
      return next;
    },
  };
}

const identity = (row: Record<string, unknown>) => `${row.file} ${row.step} ${row.sample_id} ${row.rollout}`;

const RolloutText = z.looseObject({
  completion: z.string(),
  reasoner_text: z.string().nullish(),
  extracted_answer: z.string().nullish(),
  boxes: z.array(z.tuple([z.number(), z.number(), z.number(), z.number()])).nullish(),
});
type RolloutText = z.infer<typeof RolloutText>;

function conditions(query: RolloutQuery): { where: string[]; values: DuckDBValue[] } {
  const where: string[] = [];
  const values: DuckDBValue[] = [];
  const add = (sql: string, value: DuckDBValue | undefined) => {
    if (value === undefined) return;
    values.push(value);
    where.push(sql.replace('?', `$${values.length}`));
  };
  add('step = ?', query.step);
  add('sample_id = ?', query.sample);
  add('kind = ?', query.kind);
  add('correct = ?', query.correct);
  add('(hit_rate >= 1) = ?', query.hit);
  add('box_count = ?', query.boxes);
  add('iou >= ?', query.iou_min);
  add('iou <= ?', query.iou_max);
  add('reward >= ?', query.reward_min);
  add('reward <= ?', query.reward_max);
  add('disagreement >= ?', query.disagreement_min);
  return { where, values };
}

/** The regions cut out for the reasoner under the study's image rules, without their resizing. */
export function cropRegions(boxes: BoxView[], sample: SampleView | null, imageRules: unknown): BoxView[] {
  const rules = z.enum(['paper', 'tiny']).safeParse(imageRules);
  if (sample === null || !rules.success) return [];
  const plans = planCrops(
    boxes.map(([x1, y1, x2, y2]) => ({ x1, y1, x2, y2, label: '' })),
    sample,
    IMAGE_RULES[rules.data],
  );
  return plans.map(({ plan }) => [plan.left, plan.top, plan.left + plan.width, plan.top + plan.height]);
}

function rolloutView(
  phase: Pick<RolloutView, 'role'> & { id: string },
  row: Record<string, unknown>,
  text: RolloutText,
  sample: SampleView | null,
  record: ExperimentRecord,
): RolloutView {
  const number = (name: string) => (typeof row[name] === 'number' ? row[name] : null);
  const boxes = text.boxes ?? [];
  return {
    phase: phase.id,
    role: phase.role,
    step: Number(row.step),
    sample_id: String(row.sample_id),
    rollout: Number(row.rollout),
    kind: typeof row.kind === 'string' ? row.kind : null,
    reward: number('reward'),
    advantage: number('advantage'),
    correct: typeof row.correct === 'boolean' ? row.correct : null,
    hit_rate: number('hit_rate'),
    iou: number('iou'),
    box_count: number('box_count'),
    box_size: number('box_size'),
    disagreement: number('disagreement'),
    completion: text.completion,
    reasoner_text: text.reasoner_text ?? null,
    extracted_answer: text.extracted_answer ?? null,
    boxes,
    crops: cropRegions(boxes, sample, record.config.image_rules),
    sample,
  };
}
