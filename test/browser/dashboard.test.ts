/** Every view of the dashboard in Chromium, on real runs: what is shown, that it is live, right at every zoom, and readable. */
import { appendFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Curves, RolloutPage } from '../../dashboards/server/api.ts';
import { readExperiment, writeExperiment } from '../../store/experiments.ts';
import { openStore } from '../../store/layout.ts';
import { storedRuns } from '../support/stored-runs.ts';
import { copyOfExample, lowContrast, openBrowser, openPage, picture, serveHome } from './support.ts';

const { run, names } = await storedRuns();
const EXPERIMENT = run.experiment;
const STEPS = run.rows.reduce((sum, rows) => sum + rows.length, 0);
const others = names.filter((name) => name !== EXPERIMENT);

let browser: Browser;
let example: Awaited<ReturnType<typeof copyOfExample>>;
let served: Awaited<ReturnType<typeof serveHome>>;

beforeAll(async () => {
  browser = await openBrowser();
  example = await copyOfExample();
  served = await serveHome(example.home);
}, 60_000);
afterAll(async () => {
  await browser.close();
  await served.close();
  await example[Symbol.asyncDispose]();
});

const address = (view = '') => `${served.url}/experiments/${EXPERIMENT}${view}`;

/** Opens a view, hands it to `look`, and checks that the page said nothing wrong and asked nobody else. */
async function see(
  url: string,
  look: (page: Page) => Promise<void>,
  how: Parameters<typeof openPage>[2] = {},
): Promise<void> {
  const { page, errors, outside } = await openPage(browser, served.url, how);
  try {
    await page.goto(url);
    await look(page);
    expect(errors).toEqual([]);
    expect(outside).toEqual([]);
  } finally {
    await page.context().close();
  }
}

/** The chart has been drawn at least so often. */
async function drawn(page: Page, metric: string, times = 1): Promise<void> {
  await page.waitForFunction(
    ([name, count]) =>
      Number(document.querySelector<HTMLElement>(`[data-metric="${name}"] .plot`)?.dataset.drawn ?? 0) >=
      Number(count),
    [metric, times] as const,
  );
}

/** Points that a chart holds, over all its traces. */
function points(page: Page, metric: string): Promise<number> {
  return page.evaluate((name) => {
    const chart = document.querySelector(`[data-metric="${name}"] .plot`) as unknown as {
      data: { x: number[] }[];
    };
    return chart.data.reduce((sum, trace) => sum + trace.x.length, 0);
  }, metric);
}

test('the list is searched, filtered and leads to a comparison', async () => {
  const [other = ''] = others;
  await see(served.url, async (page) => {
    await page.getByRole('link', { name: EXPERIMENT, exact: true }).waitFor();
    expect(await page.locator('tbody tr').count()).toBe(names.length);
    await page.getByLabel('Search').fill(other);
    await expect
      .poll(() => page.locator('tbody tr').count())
      .toBe(names.filter((name) => name.includes(other)).length);
    expect(page.url()).toContain(`q=${other}`);
    await page.getByLabel('Search').fill('');
    await page.getByLabel('State').selectOption('failed');
    await page.getByText('No experiment fits').waitFor();
    await page.getByLabel('State').selectOption('');
    await page.getByLabel(`Choose ${EXPERIMENT}`, { exact: true }).check();
    await page.getByLabel(`Choose ${other}`, { exact: true }).check();
    await page.getByRole('button', { name: 'Compare 2' }).click();
    await page.locator('.charts[data-loaded="2"]').waitFor();
    await drawn(page, 'iou');
    expect(await page.locator('[data-metric="iou"] .scatterlayer .trace').count()).toBe(2);
    await page.getByLabel('Metric').selectOption('accuracy');
    await expect.poll(() => page.locator('[data-metric="iou"]').count()).toBe(0);
    await drawn(page, 'accuracy');
    expect(await page.locator('[data-metric="accuracy"] .scatterlayer .trace .errorbars').count()).toBe(2);
  });
});

test('an empty home says what to do; a server that is gone is told, and found again', async () => {
  const home = await mkdtemp(path.join(os.tmpdir(), 'p2r-browser-empty-'));
  const empty = await serveHome(home);
  const { page } = await openPage(browser, empty.url);
  await page.goto(empty.url);
  await page.getByText('npx p2r run tiny-quickstart').waitFor();
  await page.getByText('live', { exact: true }).waitFor();
  await empty.close();
  await page.getByText('not connected, trying again').waitFor();
  await page.context().close();
  await rm(home, { recursive: true });
});

test('curves: one trace a phase, phases shaded, hover in all charts at once, downloads', async () => {
  await see(address(), async (page) => {
    for (const metric of ['reward_mean', 'hit_rate', 'iou', 'box_count', 'box_size', 'kl', 'accuracy'])
      await drawn(page, metric);
    await expect.poll(() => points(page, 'reward_mean')).toBe(STEPS);
    expect(await page.locator('[data-metric="iou"] .scatterlayer .trace').count()).toBe(run.phases.length);
    expect(await page.locator('[data-metric="iou"] .shapelayer path').count()).toBe(run.phases.length);
    const plot = page.locator('[data-metric="reward_mean"] .nsewdrag');
    await plot.hover({ position: { x: 60, y: 60 } });
    await page.locator('[data-metric="reward_mean"] .hoverlayer .hovertext').first().waitFor();
    await page.locator('[data-metric="hit_rate"] .hoverlayer .hovertext').first().waitFor();
    for (const [button, ending] of [
      ['Download SVG', 'svg'],
      ['Download PNG', 'png'],
      ['Download CSV', 'csv'],
    ] as const) {
      await page.getByLabel('Menu of Reward').click();
      const coming = page.waitForEvent('download');
      await page.locator('[data-metric="reward_mean"]').getByText(button).click();
      const download = await coming;
      expect(download.suggestedFilename()).toBe(`${EXPERIMENT}-reward_mean.${ending}`);
      const start = (await readFile(await download.path())).toString('latin1', 0, 80);
      expect(start).toMatch(ending === 'svg' ? /<svg/ : ending === 'png' ? /PNG/ : /^global_step,/);
      await page.getByLabel('Menu of Reward').click();
    }
  });
});

test('a drag zooms all charts and is answered with the detail of its window; the address keeps it', async () => {
  await see(address(), async (page) => {
    await drawn(page, 'reward_mean');
    await page.locator('[data-metric="reward_mean"]').scrollIntoViewIfNeeded();
    const box = await page.locator('[data-metric="reward_mean"] .nsewdrag').boundingBox();
    if (box === null) throw new Error('the chart has no place to drag on');
    const answered = page.waitForResponse((response) => /curves\?.*from=/.test(response.url()));
    await page.mouse.move(box.x + box.width * 0.4, box.y + 80);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width * 0.7, box.y + 80, { steps: 4 });
    await page.mouse.up();
    const curves = (await (await answered).json()) as Curves;
    expect(curves.from).toBeGreaterThan(STEPS * 0.25);
    expect(curves.to).toBeLessThan(STEPS * 0.85);
    await expect.poll(() => page.url()).toMatch(/from=.*to=/);
    const range = (metric: string) =>
      page.evaluate(
        (name) =>
          (
            document.querySelector(`[data-metric="${name}"] .plot`) as unknown as {
              layout: { xaxis: { range: number[] } };
            }
          ).layout.xaxis.range,
        metric,
      );
    await page.locator('[data-metric="kl"]').scrollIntoViewIfNeeded();
    await expect.poll(() => range('kl')).toEqual([curves.from, curves.to]);
    await page.getByLabel('Show').selectOption('');
    await expect.poll(() => page.url()).not.toMatch(/from=/);
    // The same by keyboard.
    await page.locator('[data-metric="iou"] .plot').focus();
    await page.keyboard.press('+');
    await expect.poll(() => page.url()).toMatch(/from=.*to=/);
    await page.keyboard.press('0');
    await expect.poll(() => page.url()).not.toMatch(/from=/);
  });
});

test('smoothing adds a line and leaves the raw one; the log axis is a log axis', async () => {
  await see(address('?smooth=0.9'), async (page) => {
    await drawn(page, 'grad_norm');
    await expect.poll(() => points(page, 'grad_norm')).toBe(2 * STEPS);
    const axis = () =>
      page.evaluate(
        () =>
          (
            document.querySelector('[data-metric="grad_norm"] .plot') as unknown as {
              layout: { yaxis: { type: string } };
            }
          ).layout.yaxis.type,
      );
    await page.getByLabel('Menu of Gradient norm').click();
    await page.locator('[data-metric="grad_norm"]').getByText('Log axis').click();
    await expect.poll(axis).toBe('log');
    // The address keeps it.
    await page.reload();
    await drawn(page, 'grad_norm');
    expect(await axis()).toBe('log');
  });
});

test('a live run grows on the page, over a restart, and says when it ends', async () => {
  // A stored run once more, as its trainer and its model server wrote it, with a crash in the middle.
  const store = openStore(example.home);
  const record = await readExperiment(store, EXPERIMENT);
  const [phase] = record?.phases ?? [];
  const rows = run.rows[0] ?? [];
  if (record === null || phase === undefined) throw new Error('the example is not there');
  const key = `${phase.key}-again`;
  await writeExperiment(store, {
    ...record,
    experiment: 'live',
    phases: [{ ...phase, key, total_steps: rows.length }],
    evaluations: [],
  });
  const event = (type: string, part: string | null) =>
    appendFile(
      store.eventsFile('live'),
      `${JSON.stringify({ time: new Date().toISOString(), type, phase: part, key: null, detail: {} })}\n`,
    );
  const begun = Date.now() / 1000 - rows.length;
  const step = async (attempt: number, number: number) => {
    await mkdir(store.attempt(key, attempt), { recursive: true });
    await appendFile(
      path.join(store.attempt(key, attempt), 'metrics.jsonl'),
      `${JSON.stringify({ ...rows[number - 1], time: begun + number })}\n`,
    );
  };
  const last = rows.length;
  const crash = Math.ceil(last / 2);
  await event('experiment-started', null);
  await event('phase-started', phase.id);
  await see(`${served.url}/experiments/live`, async (page) => {
    await page.getByText('No training step yet').waitFor();
    await step(1, 1);
    await drawn(page, 'reward_mean');
    await expect.poll(() => points(page, 'reward_mean')).toBe(1);
    for (let number = 2; number <= crash; number++) await step(1, number);
    await expect.poll(() => points(page, 'reward_mean')).toBe(crash);
    // The trainer died and went on from a checkpoint: one curve, one mark.
    for (let number = crash; number < last; number++) await step(2, number);
    await expect.poll(() => points(page, 'reward_mean')).toBe(last - 1);
    await page.getByText('as a table').click();
    await page.getByText(`taken over at step ${crash}`).waitFor();
    await page.getByText('┆ restart').first().waitFor();
    await page.locator('.told').getByText('restart', { exact: true }).waitFor();
    await mkdir(path.join(store.phase(key), 'services'), { recursive: true });
    await appendFile(
      path.join(store.phase(key), 'services', 'model.load.jsonl'),
      [1, 2]
        .map((second) => `${JSON.stringify({ time: begun + 5 * second, running: 4, waiting: second })}\n`)
        .join(''),
    );
    await step(2, last);
    await page.locator('[data-metric="model_waiting"]').scrollIntoViewIfNeeded();
    await expect.poll(() => points(page, 'model_waiting')).toBe(2);
    await page.locator('[data-metric="reward_mean"]').scrollIntoViewIfNeeded();
    await expect.poll(() => points(page, 'reward_mean')).toBe(last);
    await event('phase-completed', phase.id);
    await event('experiment-completed', null);
    await page.locator('.title .badge[data-state="completed"]').waitFor();
    await expect.poll(() => points(page, 'reward_mean')).toBe(last);
  });
}, 120_000);

test('samples: filters reach every rollout, the gallery leads to one sample over training', async () => {
  await see(address('/samples'), async (page) => {
    await page.locator(`.gallery[data-total="${run.rollouts}"]`).waitFor();
    expect(await page.locator('.card').count()).toBe(24);
    await page.getByRole('button', { name: 'Next' }).first().click();
    await page
      .getByText(`25 to ${Math.min(48, run.rollouts)} of ${run.rollouts}`)
      .first()
      .waitFor();
    await page.getByLabel('Verdict').selectOption('false');
    await page.locator(`.gallery:not([data-total="${run.rollouts}"])`).waitFor();
    await expect.poll(() => page.locator('.card .badge[data-state="completed"]').count()).toBe(0);
    await page.getByRole('link', { name: 'This sample over training' }).first().click();
    await page.locator('.gallery.strip .card').first().waitFor();
    expect(page.url()).toContain('sample=');
    await page.goto(address('/samples?disagreement_min=0.01&order=-disagreement&reward_min=0.5'));
    await page.locator('.card').first().waitFor();
    const shown = async (name: string) =>
      (await page.locator('.numbers > div', { hasText: name }).locator('dd').allTextContents()).map(Number);
    const spread = await shown("group's spread");
    expect(spread).toEqual([...spread].sort((a, b) => b - a));
    expect(Math.min(...spread)).toBeGreaterThan(0);
    expect(Math.min(...(await shown('reward')))).toBeGreaterThanOrEqual(0.5);
  });
});

describe.each([220, 320, 960])('overlays in a gallery of %i pixels', (pixels) => {
  const size = { 220: 's', 320: 'm', 960: 'xl' }[pixels] ?? 'm';
  test('boxes lie where they belong, to less than a pixel, and are shown apart', async () => {
    const found = (await (
      await fetch(`${served.url}/api/experiments/${EXPERIMENT}/rollouts?limit=24`)
    ).json()) as RolloutPage;
    await see(address(`/samples?size=${size}`), async (page) => {
      await page.locator('.card img').first().waitFor();
      const rollout = found.rollouts[0];
      if (rollout?.sample == null) throw new Error('the first rollout has no image');
      await page.locator('.card img').first().scrollIntoViewIfNeeded();
      await page.waitForFunction(() => (document.querySelector('.card img') as HTMLImageElement).complete);
      const image = await page.locator('.card img').first().boundingBox();
      if (image === null) throw new Error('the image is not shown');
      const scale = image.width / rollout.sample.width;
      expect(image.height / rollout.sample.height).toBeCloseTo(scale, 2);
      for (const [kind, boxes] of [
        ['truth', rollout.sample.boxes],
        ['predicted', rollout.boxes],
      ] as const) {
        const shown = page.locator('.card').first().locator(`[data-box="${kind}"] rect:not(.under)`);
        expect(await shown.count()).toBe(boxes.length);
        for (const [index, [x1, y1, x2, y2]] of boxes.entries()) {
          // The geometry itself: a bounding box would count the line's width.
          const place = await shown.nth(index).evaluate((rect: SVGRectElement) => {
            const { x, y, width, height } = rect.getBBox();
            const matrix = rect.getScreenCTM();
            if (matrix === null) throw new Error('the box is not shown');
            const from = new DOMPoint(x, y).matrixTransform(matrix);
            const to = new DOMPoint(x + width, y + height).matrixTransform(matrix);
            return [from.x, from.y, to.x, to.y];
          });
          const expected = [
            image.x + x1 * scale,
            image.y + y1 * scale,
            image.x + x2 * scale,
            image.y + y2 * scale,
          ];
          for (const [side, value] of expected.entries())
            expect(Math.abs((place[side] ?? Number.NaN) - value)).toBeLessThan(1);
        }
      }
      await page.getByLabel('predicted boxes').uncheck();
      await expect.poll(() => page.locator('[data-box="predicted"]').count()).toBe(0);
      expect(await page.locator('[data-box="truth"]').count()).toBeGreaterThan(0);
      await page.getByLabel('true boxes').uncheck();
      await expect.poll(() => page.locator('[data-box="truth"]').count()).toBe(0);
    });
  });
});

test('evaluation: tables, charts, two columns side by side, one sample over the checkpoints', async () => {
  await see(address('/evaluation'), async (page) => {
    await page.getByText('Accuracy on held-out samples').waitFor();
    await drawn(page, 'by-kind');
    await drawn(page, 'throughput');
    await page.getByText('exact McNemar test').waitFor();
    const [, second] = run.evaluations;
    await page.locator('.pair select').last().selectOption(`${second?.id}:p2r`);
    await expect.poll(() => page.url()).toContain('b=evaluation');
    await page.getByText('A right (base, p2r)').waitFor();
    await page.goto(`${address('/evaluation')}?sample=${run.heldOut}`);
    const answers = run.strategies.flat().length;
    await page
      .locator('.history .card')
      .nth(answers - 1)
      .waitFor();
    expect(await page.locator('.history .card img').count()).toBe(answers);
  });
});

test('evaluation: strategies against each other, down to the samples', async () => {
  const index = run.strategies.findLastIndex((strategies) => strategies.length > 1);
  const evaluation = run.evaluations[index];
  const strategies = run.strategies[index] ?? [];
  const rows = (
    await readFile(path.join(example.home, 'evaluations', evaluation?.key ?? '', 'predictions.jsonl'), 'utf8')
  )
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));
  const right = (strategy: string) =>
    new Set(
      rows
        .filter((row) => row.strategy === strategy && (row.verdict ?? row).correct)
        .map((row) => row.item ?? row.sample_id),
    );
  const [first = '', other = ''] = strategies;
  const [a, b] = [right(first), right(other)];
  await see(`${address('/evaluation')}?of=${encodeURIComponent(evaluation?.id ?? '')}`, async (page) => {
    const confusion = page.locator('.table', { hasText: 'on the diagonal' }).locator('tbody tr').first();
    await confusion.waitFor();
    expect((await confusion.locator('td').allTextContents()).slice(0, 2)).toEqual([
      `${a.size} right`,
      String([...a].filter((sample) => !b.has(sample)).length),
    ]);
    await page.getByRole('button', { name: 'Show samples' }).first().click();
    await expect.poll(() => page.url()).toContain('pattern=');
    await page.locator('.chips button').first().click();
    await page.locator('.history').waitFor();
  });
});

test('system, gate and unknown addresses say what is the case and what to do', async () => {
  await see(`${served.url}/system`, async (page) => {
    await page.getByText('evaluations', { exact: true }).waitFor();
    await page.getByText('Nothing of this home runs').waitFor();
    await page.getByText('Temporal says nothing').waitFor();
  });
  await see(address('/gate'), async (page) => {
    await page.getByText('Nothing waits for a decision').waitFor();
  });
  const { page } = await openPage(browser, served.url);
  await page.goto(`${served.url}/experiments/no-such`);
  await page.getByText('There is no such experiment').waitFor();
  await page.context().close();
});

test('what models and datasets say is shown as text', async () => {
  const store = openStore(example.home);
  const file = store.eventsFile(EXPERIMENT);
  const hostile = '<img src=x onerror="document.title=1"><script>document.title=2</script>';
  const before = await readFile(file, 'utf8');
  const event = (type: string, phase: string | null, message: string | null) =>
    `${JSON.stringify({ time: new Date().toISOString(), type, phase, key: null, detail: { message } })}\n`;
  await writeFile(
    file,
    before +
      event('experiment-started', null, null) +
      event('phase-failed', 'iteration-1/perceiver', hostile) +
      event('experiment-failed', null, hostile),
  );
  try {
    await see(address(), async (page) => {
      await page.getByText(hostile).first().waitFor();
      expect(await page.locator('main img').count()).toBe(0);
      expect(await page.title()).toBe(`${EXPERIMENT} · P2R Lab`);
    });
  } finally {
    await writeFile(file, before);
  }
});

describe.each([
  [1280, 'light'],
  [1280, 'dark'],
  [390, 'light'],
  [390, 'dark'],
] as const)('%i pixels, %s', (width, scheme) => {
  test.each([
    ['list', '/', '.table'],
    ['curves', `/experiments/${EXPERIMENT}`, '[data-metric="iou"] .plot[data-drawn]'],
    ['samples', `/experiments/${EXPERIMENT}/samples`, '.card'],
    ['evaluation', `/experiments/${EXPERIMENT}/evaluation`, '.pair .table'],
    ['system', '/system', '.table'],
    [
      'compare',
      `/compare?runs=${[EXPERIMENT, ...others.slice(0, 2)].join(',')}`,
      `.charts[data-loaded="${Math.min(3, names.length)}"]`,
    ],
  ])('the view %s fits its width and its texts can be read', async (view, url, ready) => {
    await see(
      served.url + url,
      async (page) => {
        await page.locator(ready).first().waitFor();
        expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(width);
        expect(await page.evaluate(lowContrast)).toEqual([]);
        await picture(page, scheme === 'light' ? view : `${view}-dark`);
      },
      { width, scheme },
    );
  });
});

test('everything can be reached by keyboard', async () => {
  await see(served.url, async (page) => {
    await page.getByRole('link', { name: EXPERIMENT, exact: true }).waitFor();
    const reached: string[] = [];
    for (let presses = 0; presses < 12 + 2 * names.length; presses++) {
      await page.keyboard.press('Tab');
      const name = await page.evaluate(() => document.activeElement?.textContent ?? '');
      reached.push(name.trim());
      if (name === EXPERIMENT) break;
    }
    expect(reached[0]).toBe('Skip to content');
    expect(reached.at(-1)).toBe(EXPERIMENT);
    await page.keyboard.press('Enter');
    await page.locator('.tabs').waitFor();
    expect(page.url()).toBe(address());
  });
});
