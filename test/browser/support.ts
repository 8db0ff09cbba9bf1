/** A dashboard over a home and a real Chromium in front of it. */
import { existsSync } from 'node:fs';
import { cp, mkdtemp, rm } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { serve } from '@hono/node-server';
import { type Browser, chromium, type Page } from 'playwright-core';
import sharp from 'sharp';
import { createDashboard, type DashboardOptions } from '../../dashboards/server/app.ts';
import { loadPage } from '../../dashboards/server/page-files.ts';
import { EXAMPLE } from '../support/stored-runs.ts';

/** Starts Chromium. Throws with what to do when there is none. */
export async function openBrowser(): Promise<Browser> {
  const executablePath = [
    process.env.P2R_CHROMIUM,
    '/usr/bin/chromium',
    '/usr/bin/google-chrome',
    '/usr/bin/chromium-browser',
  ].find((candidate) => candidate !== undefined && existsSync(candidate));
  if (executablePath === undefined)
    throw new Error('No Chromium was found: install it, or set P2R_CHROMIUM to its path.');
  return chromium.launch({ executablePath, args: ['--no-sandbox'] });
}

/** A copy of the example that a test may change. */
export async function copyOfExample(): Promise<{ home: string } & AsyncDisposable> {
  const home = await mkdtemp(path.join(os.tmpdir(), 'p2r-browser-'));
  await cp(EXAMPLE, home, { recursive: true });
  return { home, [Symbol.asyncDispose]: () => rm(home, { recursive: true, force: true }) };
}

/** Serves a home on a free port of loopback. */
export async function serveHome(
  home: string,
  options: Partial<DashboardOptions> = {},
): Promise<{ url: string; close: () => Promise<void> }> {
  const dashboard = createDashboard({ home, page: await loadPage(), ...options });
  const server = serve({ fetch: dashboard.app.fetch, hostname: '127.0.0.1', port: 0 });
  await new Promise((resolve) => server.once('listening', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async close() {
      dashboard.close();
      if ('closeAllConnections' in server) server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Keeps a picture of the page for docs/ where P2R_SCREENSHOTS names a folder (`npm run screenshots`). */
export async function picture(page: Page, name: string): Promise<void> {
  const folder = process.env.P2R_SCREENSHOTS;
  if (folder === undefined) return;
  await page.waitForFunction(() =>
    [...document.querySelectorAll<HTMLElement>('.plot')].every(({ dataset }) => dataset.drawn !== undefined),
  );
  const { width = 0 } = page.viewportSize() ?? {};
  const { scrollHeight } = await page.evaluate(() => ({ scrollHeight: document.body.scrollHeight }));
  // A gallery is long; its beginning is enough.
  const height = Math.min(scrollHeight, page.url().includes('/samples') ? 1100 : 4000);
  const png = await page.screenshot({
    fullPage: true,
    animations: 'disabled',
    // Where a test keeps its home is no part of the view.
    mask: [page.locator('main p > code')],
    maskColor: '#8a939e',
    clip: { x: 0, y: 0, width, height },
  });
  await sharp(png)
    .png({ palette: true, effort: 10 })
    .toFile(path.join(folder, `${name}-${width}.png`));
}

/** What a page said and asked that it should not have. */
export type Watched = { page: Page; errors: string[]; outside: string[] };

/** Opens a page and collects its console errors and every request that leaves the dashboard. */
export async function openPage(
  browser: Browser,
  url: string,
  look: { width?: number; height?: number; scheme?: 'light' | 'dark' } = {},
): Promise<Watched> {
  const context = await browser.newContext({
    viewport: { width: look.width ?? 1280, height: look.height ?? 800 },
    colorScheme: look.scheme ?? 'light',
  });
  const page = await context.newPage();
  const watched: Watched = { page, errors: [], outside: [] };
  page.on('console', (message) => message.type() === 'error' && watched.errors.push(message.text()));
  page.on('pageerror', (error) => watched.errors.push(error.message));
  page.on('request', (request) => {
    if (!request.url().startsWith(url) && !/^(data|blob):/.test(request.url()))
      watched.outside.push(request.url());
  });
  return watched;
}

/** Texts of the page whose contrast with their ground is below WCAG's AA (4.5, or 3 for large text). Runs in the page. */
export function lowContrast(): string[] {
  type Colour = [number, number, number, number];
  const read = (text: string): Colour => {
    const [r = 0, g = 0, b = 0, a = 1] = (text.match(/[\d.]+/g) ?? []).map(Number);
    return [r, g, b, text === 'transparent' ? 0 : a];
  };
  const over = ([r, g, b, a]: Colour, [R, G, B]: Colour): Colour => [
    r * a + R * (1 - a),
    g * a + G * (1 - a),
    b * a + B * (1 - a),
    1,
  ];
  const ground = (element: Element): Colour => {
    const own = read(getComputedStyle(element).backgroundColor);
    if (own[3] === 1) return own;
    const parent = element.parentElement;
    return over(own, parent === null ? [255, 255, 255, 1] : ground(parent));
  };
  const luminance = (colour: Colour) => {
    const [r = 0, g = 0, b = 0] = colour.slice(0, 3).map((value) => {
      const share = value / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const found = new Set<string>();
  for (const element of document.querySelectorAll<HTMLElement | SVGElement>('body *')) {
    const own = [...element.childNodes].some(
      (node) => node.nodeType === Node.TEXT_NODE && node.textContent?.trim() !== '',
    );
    if (!own || !element.checkVisibility() || element.closest(':disabled, option, .hoverlayer')) continue;
    const style = getComputedStyle(element);
    const behind = ground(element);
    const colour = over(read(element instanceof SVGElement ? style.fill : style.color), behind);
    const [light, dark] = [luminance(colour), luminance(behind)].sort((a, b) => b - a);
    const ratio = ((light ?? 0) + 0.05) / ((dark ?? 0) + 0.05);
    const size = Number.parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if (ratio < (large ? 3 : 4.5)) found.add(`${element.textContent?.slice(0, 40)}: ${ratio.toFixed(2)}`);
  }
  return [...found];
}
