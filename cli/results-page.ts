/** docs/results.md: what the tiny twins show of the paper's claims. */
import type { CheckResult, ResultRow, StudyResult } from './results.ts';

const percent = (value: number) => (100 * value).toFixed(1);
const fixed = (value: number | null, digits: number) => (value === null ? '-' : value.toFixed(digits));
const signed = (value: number) => (value < 0 ? `−${(-value).toFixed(3)}` : `+${value.toFixed(3)}`);

const RULE = `A **check** is a difference of two figures (or a slope), computed question by question on the same held-out questions. Its 95 %
interval is a bootstrap over scenes; under several seeds a question counts with its mean over them, so the interval says how sure the
figure is for these runs, not how much other seeds would differ. A check *holds* when the whole interval lies on the claim's side, *does
not hold* when the estimate itself does not, and is *undecided* between. A claim holds when all its checks do, does not hold when one does
not, and is *not run* where no figure is stored. What another study computed of the same parts under further seeds counts, too: the tables name the
seeds of every figure.`;

function table(head: string[], rows: string[][]): string {
  return [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

function checkRow({ says, estimate, seeds, verdict }: CheckResult): string[] {
  return [
    says,
    estimate === null ? '-' : signed(estimate.value),
    estimate === null ? '-' : estimate.interval.map(signed).join(' to '),
    seeds.length > 1 ? seeds.map(signed).join(', ') : '',
    verdict,
  ];
}

function figureRow(row: ResultRow): string[] {
  return [
    ...[row.case, row.checkpoint, row.strategy, row.seeds.join(', ')],
    percent(row.accuracy.value),
    row.accuracy.interval.map(percent).join(' to '),
    fixed(row.hit_rate, 3),
    fixed(row.iou, 3),
    fixed(row.box_count, 2),
    fixed(row.box_size, 0),
    String(row.questions),
  ];
}

/** The page; `made` says when and on what machine. */
export function resultsPage(results: StudyResult[], made: string): string {
  const sections = results.map((result) => {
    const checks = table(
      ['check', 'estimate', '95 % interval', 'by seed', 'verdict'],
      result.checks.map(checkRow),
    );
    const figures = table(
      [
        'case',
        'checkpoint',
        'strategy',
        'seeds',
        'accuracy, %',
        '95 % interval',
        'hit rate',
        'IoU',
        'boxes',
        'box size, px',
        'questions',
      ],
      result.rows.map(figureRow),
    );
    return [
      `## ${result.item ?? 'The project'}: ${result.verdict}`,
      `${result.item === null ? 'Claim' : `The paper (\`${result.study}\`)`}: ${result.claim}`,
      result.seeds.length === 0
        ? `Not run here: \`npx p2r run ${result.twin}\`.`
        : `\`npx p2r run ${result.twin}\`, ${result.seeds.length === 1 ? 'seed' : 'seeds'} ${result.seeds.join(', ')}.`,
      checks,
      ...(result.rows.length === 0 ? [] : [figures]),
    ].join('\n\n');
  });
  const summary = table(
    ['paper', 'claim', 'at tiny scale', 'checks that hold'],
    results.map(({ item, claim, verdict, checks }) => [
      item ?? 'the project',
      claim,
      `**${verdict}**`,
      `${checks.filter((check) => check.verdict === 'holds').length} of ${checks.length}`,
    ]),
  );
  return `# Results

Made by \`npm run results\` from stored runs; nothing here is written by hand. ${made}

The paper's figures are of Qwen3-VL at 2, 4 and 8 billion parameters on published benchmarks; ours are of models a thousand times smaller on
needle scenes. What can be compared is the shape: which of two figures is the larger. A claim that does not hold at this scale is said so.

${RULE}

${summary}

${sections.join('\n\n')}
`;
}
