import { Hono } from 'hono';
import { html } from 'hono/html';
import { AuditdError, messageOf } from '../../errors.js';
import { liftedWords } from '../../fail2ban/client.js';
import type { PageResult } from '../../query/page.js';
import { requireSession, safeNext } from '../access/session.js';
import type { ApiContext, ApiEnv } from '../context.js';
import type { ApiDeps } from '../deps.js';
import { LOGIN, PAGE } from '../paths.js';
import { assetFiles } from './assets.js';
import { DashboardData, windowOf } from './dashboard-data.js';
import { type Flash, Flashes } from './flash-messages.js';
import { Login } from './login.js';
import { AuditLogPage } from './page.js';
import { PER_PAGE, readView, type View } from './view-url.js';

/** Characters of details that the page reads. It shows fewer, and parsing them would delay deliveries in the same thread. */
const LONGEST = 20_000;
const YEAR_S = 31_536_000;

/** The page "Audit Log", its login, and its only change: to lift a ban. All of it works without scripts. */
export function pages(deps: ApiDeps): Hono<ApiEnv> {
  const app = new Hono<ApiEnv>();
  const overview = new DashboardData(deps);
  const flashes = new Flashes();

  app.get('/', (c) => c.redirect(PAGE, 302));

  app.get(`${PAGE}/assets/:name`, (c) => sendAsset(c, c.req.param('name')));
  app.get(LOGIN, (c) => {
    const next = safeNext(c.req.query('next'));
    if (c.var.identity !== null) return c.redirect(next, 303);
    return c.html(
      document(<Login assets={assetLinks()} failed={c.req.query('failed') ?? null} next={next} />),
    );
  });

  app.get(PAGE, requireSession, (c) => showAuditLog(c, deps, { overview, notice: flashes.take(c.var.csrf) }));

  app.post(`${PAGE}/unban`, requireSession, async (c) => {
    const form = await c.req.parseBody();
    const text = (name: string) => (typeof form[name] === 'string' ? form[name] : '');
    flashes.put(c.var.csrf, await lift(c, deps, text('address')));
    overview.forgetBans();
    const back = safeNext(text('back'));
    return c.redirect(back, 303);
  });
  return app;
}

function assetLinks(): { readonly css: string; readonly js: string } {
  const assets = assetFiles();
  return { css: assets['page.css'].href, js: assets['page.js'].href };
}

function sendAsset(c: ApiContext, name: string): Response | Promise<Response> {
  if (name !== 'page.css' && name !== 'page.js') return c.notFound();
  const { body, type } = assetFiles()[name];
  return c.body(body, 200, {
    'content-type': type,
    'cache-control': `public, max-age=${YEAR_S}, immutable`,
  });
}

async function showAuditLog(
  c: ApiContext,
  deps: ApiDeps,
  { overview, notice }: { readonly overview: DashboardData; readonly notice: Flash | null },
): Promise<Response> {
  const now = deps.clock();
  const view = readView(new URL(c.req.url).searchParams, now);
  const window = windowOf(view, now);
  const [found, stats, lastHour, bans] = await Promise.all([
    find(deps, view),
    view.error === null ? overview.window(view, window) : null,
    overview.lastHour(),
    overview.banned(),
  ]);
  const { sinks, sources, bans: reports, silence = null } = deps.status();
  const { identity, csrf } = c.var;
  const page = (
    <AuditLogPage
      now={now}
      server={deps.server}
      assets={assetLinks()}
      person={{ name: identity?.name ?? '', scope: identity?.scope ?? 'read', csrf }}
      view={view}
      result={found.result}
      trouble={found.trouble}
      stats={stats}
      window={window}
      lastHour={lastHour}
      bans={{ ...bans, unrecorded: reports?.unrecorded ?? [] }}
      silence={silence}
      sinks={sinks}
      sources={sources}
      banLimit={deps.failures.rule.failures}
      notice={notice}
    />
  );
  return c.html(document(page), found.status);
}

async function lift(c: ApiContext, deps: ApiDeps, address: string): Promise<{ good: boolean; text: string }> {
  const { identity } = c.var;
  if (identity?.scope !== 'admin') {
    return { good: false, text: 'Lifting a ban needs a token of scope admin. Your token can only read.' };
  }
  try {
    const by = identity.name;
    const lifted = await deps.bans.unban(address, by);
    const words = liftedWords(address, lifted);
    deps.log.info({ address, lifted, by }, `${words}, as requested by ${by}`);
    return { good: true, text: `${words}.` };
  } catch (error) {
    if (!(error instanceof AuditdError)) throw error;
    return { good: false, text: messageOf(error) };
  }
}

interface Found {
  readonly result: PageResult | null;
  readonly trouble: string | null;
  readonly status: 200 | 400 | 503;
}

/** The entries, or a text that explains why there are none. */
async function find(deps: ApiDeps, view: View): Promise<Found> {
  if (view.error !== null) {
    const { parameter, message } = view.error;
    return { result: null, trouble: `${parameter === null ? '' : `${parameter}: `}${message}.`, status: 400 };
  }
  try {
    const result = await deps.queries.page(view.filter, { page: view.page, limit: PER_PAGE, brief: LONGEST });
    return { result, trouble: null, status: 200 };
  } catch (error) {
    if (!(error instanceof AuditdError)) throw error;
    return { result: null, trouble: `${messageOf(error)}.`, status: 503 };
  }
}

function document(page: unknown) {
  return html`<!doctype html>${page}`;
}
