/** Who may ask, and what a browser may do with the answers. */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { Context, MiddlewareHandler } from 'hono';
import { getCookie, setCookie } from 'hono/cookie';
import { secureHeaders } from 'hono/secure-headers';
import { problem } from './problem.ts';

const LOOPBACK = ['127.0.0.1', 'localhost', '[::1]'];
const COOKIE = 'p2r_token';
/** Hash of an inline style without text: plotly makes one and adds its rules by script, which the policy allows anyway. */
const EMPTY_STYLE = `'sha256-${createHash('sha256').update('').digest('base64')}'`;

/** How the dashboard is guarded. */
export type GuardOptions = {
  /** Names beyond the loopback's own that a page may be asked for by. */
  allowedHosts: readonly string[];
  /** What a change must show; null refuses every change. */
  token: string | null;
  /** Whether looking needs the token as well: it must where the dashboard listens beyond loopback. */
  tokenToLook: boolean;
};

/**
 * Refuses requests for a name that is not ours (a foreign page that re-binds its own name to 127.0.0.1 sends that name), requests from
 * other sites' pages, and changes without the token. The token comes as `Authorization: Bearer`, or once as `?token=` in the address
 * that was printed at the start, which becomes a cookie that scripts cannot read and other sites cannot send.
 */
export function guard(options: GuardOptions): MiddlewareHandler {
  const names = new Set([...LOOPBACK, ...options.allowedHosts.map((name) => name.toLowerCase())]);
  return async (context, next) => {
    const host = (context.req.header('host') ?? '').toLowerCase();
    if (!names.has(host.replace(/:\d+$/, '')))
      return problem(
        context,
        403,
        'forbidden',
        `"${host.slice(0, 100)}" is not a name this dashboard answers to.`,
      );
    const origin = context.req.header('origin');
    if (origin !== undefined && hostOf(origin) !== host)
      return problem(context, 403, 'forbidden', 'Pages of other sites cannot use this dashboard.');
    const changes = !['GET', 'HEAD'].includes(context.req.method);
    const crossSite = context.req.header('sec-fetch-site') === 'cross-site';
    if (crossSite && (changes || context.req.path.startsWith('/api/')))
      return problem(context, 403, 'forbidden', 'Pages of other sites cannot use this dashboard.');
    const given = context.req.query('token');
    if (!changes && given !== undefined && options.token !== null && same(given, options.token)) {
      setCookie(context, cookieName(host), given, { httpOnly: true, sameSite: 'Strict', path: '/' });
      return context.redirect(context.req.path);
    }
    if (context.req.path === '/healthz' || (!changes && !options.tokenToLook)) return next();
    if (!showsToken(context, options.token))
      return problem(
        context,
        401,
        'unauthorized',
        'This needs the token: open the address that "p2r up" prints, which holds it.',
      );
    return next();
  };
}

/** Whether the request holds the token. */
export function showsToken(context: Context, token: string | null): boolean {
  const host = (context.req.header('host') ?? '').toLowerCase();
  const shown =
    /^Bearer (.+)$/.exec(context.req.header('authorization') ?? '')?.[1] ??
    getCookie(context, cookieName(host));
  return token !== null && shown !== undefined && same(shown, token);
}

/** Cookies do not tell ports apart, so the name does: dashboards of two homes stay apart. */
function cookieName(host: string): string {
  return `${COOKIE}_${/:(\d+)$/.exec(host)?.[1] ?? '80'}`;
}

function hostOf(origin: string): string | null {
  return URL.canParse(origin) ? new URL(origin).host : null;
}

function same(given: string, expected: string): boolean {
  const [a, b] = [given, expected].map((text) => createHash('sha256').update(text).digest());
  return a !== undefined && b !== undefined && timingSafeEqual(a, b);
}

/** Headers of every answer: scripts, styles, data and images come from here alone, and nothing may frame or sniff it. */
export function pageHeaders(): MiddlewareHandler {
  return secureHeaders({
    strictTransportSecurity: false,
    referrerPolicy: 'no-referrer',
    contentSecurityPolicy: {
      defaultSrc: ["'none'"],
      scriptSrc: ["'self'"],
      styleSrc: ["'self'", EMPTY_STYLE],
      imgSrc: ["'self'", 'data:', 'blob:'],
      connectSrc: ["'self'"],
      baseUri: ["'none'"],
      formAction: ["'none'"],
      frameAncestors: ["'none'"],
    },
  });
}
