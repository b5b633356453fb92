import { Hono } from 'hono';
import type { z } from 'zod';
import type { SourceName } from '../../audit/event.js';
import { sendJson } from '../../control/send-json.js';
import { AuditdError, messageOf } from '../../errors.js';
import { type Filter, parseFilter } from '../../query/filter.js';
import { findEntry, type PageText } from '../../query/service.js';
import { requireScope } from '../access/auth.js';
import type { ApiContext, ApiEnv } from '../context.js';
import type { ApiDeps } from '../deps.js';
import { ExportStream } from '../export-stream.js';
import { ConcurrencyLimit } from '../http/concurrency-limit.js';
import { accessCheck, onDisconnect, touchConnection } from '../http/long-responses.js';
import { measureChunks, type Passed } from '../http/measured-chunks.js';
import { problemResponse } from '../http/problem.js';
import {
  type AnswerFormat,
  filterFromQuery,
  listParameters,
  noParameters,
  parametersOf,
} from '../request-schemas.js';

/** Exports at the same time. Each needs memory for two chunks, and time of the query thread. */
const MOST_EXPORTS = 4;
/** Queries that may wait. More would wait longer than any client does. */
const MOST_QUERIES = 32;

const CONTENT_TYPES: Readonly<Record<AnswerFormat, string>> = {
  json: 'application/json',
  ndjson: 'application/x-ndjson',
  csv: 'text/csv; charset=utf-8; header=present',
};

const ACCEPTED: Readonly<Record<string, AnswerFormat>> = {
  'application/json': 'json',
  'application/x-ndjson': 'ndjson',
  'application/ndjson': 'ndjson',
  'application/jsonl': 'ndjson',
  'text/csv': 'csv',
};

/** `GET /api/audit-log` and `GET /api/audit-log/:id`. */
export function auditLogRoutes(deps: ApiDeps): Hono<ApiEnv> {
  const app = new Hono<ApiEnv>();
  const exports = new ConcurrencyLimit(MOST_EXPORTS);
  const queries = new ConcurrencyLimit(MOST_QUERIES);

  app.get('/api/audit-log', requireScope('read'), async (c) => {
    const asked = parametersOf(listParameters, c.req.queries());
    const filter = filterFromQuery(asked, deps.clock());
    const format = formatOf(c, asked.format);
    c.header('vary', 'accept, authorization, cookie');
    checkPaging(asked);
    if (asked.limit === 0) return exportAll(c, deps, exports, filter, format);
    const { page, limit, cursor = null } = asked;
    const count = cursor === null ? 'some' : 'none';
    return withSlot(c, queries, async () =>
      pageAnswer(c, await deps.queries.text(filter, format, { page, limit, cursor, count }), format),
    );
  });

  // Clients generated from openapi.json send the colon as %3A.
  app.get('/api/audit-log/:id{(?:[a-z]+(?::|%3[Aa]))?[0-9]+}', requireScope('read'), async (c) => {
    parametersOf(noParameters, c.req.queries());
    const { source, id } = entryId(c.req.param('id'));
    return withSlot(c, queries, async () => {
      const found = await findEntry(deps.queries, source, id);
      if (found === null) throw new AuditdError('NOT_FOUND', `No entry has the id ${source}:${id}`);
      return sendJson(c, found);
    });
  });
  return app;
}

/** @throws AuditdError `USAGE` if page, limit and cursor contradict each other */
function checkPaging({ page, limit, cursor }: z.infer<typeof listParameters>): void {
  if (limit === 0 && (page !== 1 || cursor !== undefined)) {
    const name = cursor === undefined ? 'page' : 'cursor';
    throw new AuditdError('USAGE', `${name}: limit=0 returns all entries in one answer`, {
      next: `Leave ${name} out, or give a limit`,
    });
  }
  if (page !== 1 && cursor !== undefined) {
    throw new AuditdError('USAGE', 'page: page and cursor exclude each other', { next: 'Give one of them' });
  }
}

/** Runs a query if a slot is free; answers 503 otherwise. */
async function withSlot(
  c: ApiContext,
  slots: ConcurrencyLimit,
  query: () => Promise<Response>,
): Promise<Response> {
  const free = slots.take();
  if (free === null) return busy(c, 'Too many queries are waiting');
  try {
    return await query();
  } finally {
    free();
  }
}

/** @throws AuditdError `USAGE` */
function entryId(text: string): { source: SourceName; id: number } {
  const [number = '', name = 'postern'] = text.split(':').reverse();
  const { source } = parseFilter({ source: name }, 0);
  const id = Number(number);
  if (source === null || !Number.isSafeInteger(id)) {
    throw new AuditdError('USAGE', `id: found ${JSON.stringify(text.slice(0, 60))}`, {
      next: 'Give postern:4711, auditd:12 or 4711',
    });
  }
  return { source, id };
}

async function exportAll(
  c: ApiContext,
  deps: ApiDeps,
  exports: ConcurrencyLimit,
  filter: Filter,
  format: AnswerFormat,
): Promise<Response> {
  const day = new Date(deps.clock()).toISOString().slice(0, 10);
  const headers = {
    'content-type': CONTENT_TYPES[format],
    'content-disposition': `attachment; filename="audit-log-${day}.${format}"`,
  };
  if (c.req.method === 'HEAD') return c.body(null, 200, headers);
  const free = exports.take();
  if (free === null) return busy(c, `At most ${MOST_EXPORTS} exports run at the same time`);
  const identity = c.var.identity;
  const recordExport = (passed: Passed) =>
    deps.record({
      action: 'daemon.export',
      ...(identity === null ? {} : { user: { name: identity.name } }),
      details: {
        by: { kind: identity?.via ?? null, name: identity?.name ?? null },
        filter: c.req.queries(),
        format,
        ...passed,
      },
    });
  const begun = await ExportStream.begin(measureChunks(deps.queries.stream(filter, format), recordExport), {
    hasAccess: accessCheck(c, deps),
    onQuiet: () => touchConnection(c),
    onEnd: (error) => {
      free();
      if (error !== null)
        deps.log.warn(
          { err: error },
          `an export was aborted: ${messageOf(error)}; the client's answer is incomplete`,
        );
    },
  });
  onDisconnect(c, () => begun.stop());
  return c.body(begun.stream, 200, headers);
}

/**
 * The format that the client prefers (RFC 9110 section 12.5.1), JSON by default. A range such as `text/*` does not ask for CSV, so `accepts`
 * of hono/accepts, which would return CSV, does not fit.
 */
function formatOf(c: ApiContext, asked: AnswerFormat | undefined): AnswerFormat {
  if (asked !== undefined) return asked;
  const wanted = (c.req.header('accept') ?? '')
    .split(',', 20)
    .map((part) => part.trim().toLowerCase())
    .map((part) => ({
      format: ACCEPTED[part.split(';')[0]?.trim() ?? ''],
      quality: Number(/;\s*q=([\d.]+)/.exec(part)?.[1] ?? 1),
    }))
    .filter(({ format, quality }) => format !== undefined && quality > 0)
    .sort((a, b) => b.quality - a.quality);
  return wanted[0]?.format ?? 'json';
}

function pageAnswer(c: ApiContext, { bytes, next }: PageText, format: AnswerFormat): Response {
  if (next !== null) {
    const query = new URLSearchParams(new URL(c.req.url).search);
    query.delete('page');
    query.set('cursor', next);
    c.header('link', `<?${query.toString()}>; rel="next"`);
  }
  return c.body(bytes as Uint8Array<ArrayBuffer>, 200, { 'content-type': CONTENT_TYPES[format] });
}

export function busy(c: ApiContext, why: string): Response {
  c.header('retry-after', '5');
  return problemResponse(c, 503, 'Too many requests at once', `${why}.`, {
    next: 'Try again in a few seconds',
  });
}
