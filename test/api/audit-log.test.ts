import { execFileSync } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { entry as entrySchema, page as pageSchema, problemSchema } from '../../src/api/response-schemas.js';
import { controlRequest } from '../../src/control/client.js';
import { installed } from '../support/installed.js';
import { ApiRig } from './api-fixture.js';

let rig: ApiRig;
let token: string;
const ROWS = 130;

beforeAll(async () => {
  rig = await ApiRig.start();
  rig.daemon.db.transaction(() => {
    for (let n = 1; n <= ROWS; n++) {
      rig.daemon.record({
        action: n % 2 === 0 ? 'proxy_host.update' : 'user.update',
        resourceId: n,
        user: { id: n % 3, name: `user ${n % 3}`, email: `u${n % 3}@example.net` },
        address: `198.51.100.${n}`,
        details: { n, password: 'hidden', text: n === 7 ? '=cmd|calc "x",\r\nnewline' : 'plain' },
      });
    }
  })();
  await rig.daemon.shipped();
  token = await rig.token('reader');
});

afterAll(() => rig.close());

/** The command as the product page has it, but for scheme, host and port, and the token. */
function curl(command: string): string {
  const here = command.replace('http://your-server:81', rig.url('')).replace('<token>', token);
  return execFileSync('sh', ['-c', here.replace(/^curl/, 'curl -sS --fail-with-body')], {
    encoding: 'utf8',
    maxBuffer: 2 ** 26,
  });
}

const ask = (query: string, init: RequestInit = {}) => rig.ask(`/api/audit-log${query}`, token, init);

describe.skipIf(!installed('curl', 'curl'))('the three curl commands of the product page', () => {
  it('a curl command lists the last 50 entries, newest first', () => {
    const page = pageSchema.parse(
      JSON.parse(
        curl(`curl -H "Authorization: Bearer <token>" \\
     "http://your-server:81/api/audit-log?page=1&limit=50"`),
      ),
    );
    expect(page.entries).toHaveLength(50);
    expect(page.page).toBe(1);
    expect(page.total).toBeGreaterThan(ROWS);
    const own = page.entries.filter(({ id }) => id.startsWith('postern:'));
    expect(own[0]?.id).toBe(`postern:${ROWS}`);
    expect(own[0]).toMatchObject({
      user: { id: '1', name: 'user 1', email: 'u1@example.net' },
      action: 'proxy_host.update',
      resource_type: 'proxy_host',
      resource_id: String(ROWS),
      details: { n: ROWS, password: '***' },
      ip_address: `198.51.100.${ROWS}`,
      server: 'here',
      outcome: 'success',
    });
  });

  it('a curl command filters by resource type', () => {
    const page = pageSchema.parse(
      JSON.parse(
        curl(`curl -H "Authorization: Bearer <token>" \\
     "http://your-server:81/api/audit-log?resource_type=proxy_host"`),
      ),
    );
    expect(page.total).toBe(ROWS / 2);
    expect(page.entries).toHaveLength(50);
    expect(new Set(page.entries.map(({ resource_type: type }) => type))).toEqual(new Set(['proxy_host']));
  });

  it('a curl command exports all entries into a file', () => {
    const file = `${rig.daemon.directory}/audit-export.json`;
    curl(`curl -H "Authorization: Bearer <token>" \\
     "http://your-server:81/api/audit-log?limit=0" > ${file}`);
    const all = pageSchema.parse(JSON.parse(execFileSync('cat', [file], { encoding: 'utf8' })));
    expect(all.entries.filter(({ id }) => id.startsWith('postern:'))).toHaveLength(ROWS);
    expect(all).toMatchObject({
      page: 1,
      limit: 0,
      total: all.entries.length,
      total_exact: true,
      next: null,
    });
  });
});

describe('pages of GET /api/audit-log', () => {
  it('pages have every entry once, by number and by cursor', async () => {
    for (const next of ['page', 'cursor'] as const) {
      const seen: string[] = [];
      let query = '?source=postern&limit=40';
      for (let page = 2; ; page++) {
        const answer = (await ask(query)).json();
        seen.push(...answer.entries.map(({ id }: { id: string }) => id));
        if (answer.next === null) break;
        query = `?source=postern&limit=40&${next === 'page' ? `page=${page}` : `cursor=${answer.next}`}`;
      }
      expect(seen).toEqual(Array.from({ length: ROWS }, (_, n) => `postern:${ROWS - n}`));
    }
  });

  it('pages have the next page in the header Link', async () => {
    const { headers } = await ask('?limit=10&source=postern');
    const [, link = ''] = /<([^>]*)>; rel="next"/.exec(headers.get('link') ?? '') ?? [];
    expect((await ask(link)).json().entries[0].id).toBe(`postern:${ROWS - 10}`);
  });

  it.each([
    ['action=proxy_host.update', 65],
    ['action=update&resource_type=user', 65],
    ['user=u0@example.net', 43],
    ['ip=198.51.100.7', 1],
    ['ip=198.51.100.0/28', 15],
    ['q=newline', 1],
    ['from=-1d&source=postern', ROWS],
    ['to=-1d', 0],
    ['server=elsewhere', 0],
    ['outcome=failure', 0],
  ])('the filter ?%s matches the right entries', async (query, total) => {
    expect((await ask(`?${query}&limit=1`)).json()).toMatchObject({ total, total_exact: true });
  });
});

describe('GET /api/audit-log/:id', () => {
  it.each(['postern:7', '7', 'postern%3A7', 'postern%3a7'])(
    'GET /api/audit-log/:id returns the entry for %s',
    async (id) => {
      const found = entrySchema.parse((await ask(`/${id}`)).json());
      expect(found).toMatchObject({ id: 'postern:7', details: { n: 7 } });
    },
  );

  it('GET /api/audit-log/:id returns an entry of the daemon itself', async () => {
    expect((await ask('/auditd:1')).json()).toMatchObject({ id: 'auditd:1', action: 'daemon.start' });
  });

  it.each(['999999', 'auditd:999999', '0'])('GET /api/audit-log/:id answers 404 for %s', async (id) => {
    const { status, headers } = await ask(`/${id}`);
    expect([status, headers.get('content-type')]).toEqual([404, 'application/problem+json']);
  });
});

describe('formats of an answer', () => {
  it.each([
    ['text/csv', '', 'text/csv; charset=utf-8; header=present'],
    ['application/x-ndjson', '', 'application/x-ndjson'],
    ['text/html, application/json;q=0.9, text/csv;q=0.1', '', 'application/json'],
    ['*/*', '', 'application/json'],
    ['application/json', '&format=csv', 'text/csv; charset=utf-8; header=present'],
  ])('Accept: %s%s is answered with %s', async (accept, format, type) => {
    const { headers } = await ask(`?limit=1${format}`, { headers: { accept } });
    expect(headers.get('content-type')).toBe(type);
  });

  it('CSV is safe in a spreadsheet, on a page and in an export', async () => {
    for (const limit of [1, 0]) {
      const { text } = await ask(`?limit=${limit}&format=csv&source=postern&ip=198.51.100.7`);
      const [head, line] = text.split('\r\n');
      expect(head).toMatch(/^id,created_at,/);
      expect(line).toMatch(/^postern:7,.*"\{""n"":7,""password"":""\*\*\*"",""text"":""=cmd/);
    }
  });

  it('an export as NDJSON has one line per entry', async () => {
    const { text } = await ask('?limit=0&format=ndjson&source=postern');
    const ids = text
      .trimEnd()
      .split('\n')
      .map((line) => entrySchema.parse(JSON.parse(line)).id);
    expect(ids).toEqual(Array.from({ length: ROWS }, (_, n) => `postern:${ROWS - n}`));
  });

  it('an empty export is an empty page', async () => {
    expect((await ask('?limit=0&ip=192.0.2.1')).json()).toMatchObject({ entries: [], total: 0, next: null });
  });
});

describe('an invalid request is answered with problem details that name the parameter', () => {
  it.each([
    ['?limit=1001', 'limit', 'Found "1001".', 'Give a whole number from 0 to 1000'],
    ['?limit=-1', 'limit', 'Found "-1".', 'Give a whole number'],
    ['?limit=1e3', 'limit', 'Found "1e3".', 'Give a whole number'],
    ['?page=0', 'page', 'Found "0".', 'Give a whole number from 1'],
    ['?page=2&limit=0', 'page', 'Limit=0 returns all entries', 'Leave page out'],
    ['?from=yesterday', 'from', 'Found "yesterday".', 'Give a date'],
    ['?from=2026-11-02&to=2026-11-01', 'to', 'is not after from', 'Give a later end'],
    ['?outcome=maybe', 'outcome', 'Found "maybe".', 'Give one of success, failure, unknown'],
    ['?ip=1.2.3', 'ip', 'Found "1.2.3".', 'Give an address'],
    ['?cursor=x', 'cursor', 'Invalid cursor.', 'Copy it unchanged from next'],
    ['?resourcetype=proxy_host', 'resourcetype', 'Unknown parameter.', 'Did you mean resource_type?'],
    ['?limit=1&limit=2', 'limit', 'Found 2 times.', 'Give it once'],
    [`?q=${'x'.repeat(1_001)}`, 'q', 'Found 1001 characters.', 'Give at most 1000'],
    ['/elsewhere:1', 'source', 'Found "elsewhere".', 'Give one of postern, auditd'],
  ])('%s is rejected', async (query, parameter, detail, next) => {
    const { status, headers, json } = await ask(query);
    expect([status, headers.get('content-type')]).toEqual([400, 'application/problem+json']);
    const found = problemSchema.parse(json());
    expect(found.parameter).toBe(parameter);
    expect(found.detail).toContain(detail);
    expect(found.next).toContain(next);
  });

  it('a command gets the problem and the next step as separate texts', async () => {
    const error = await controlRequest(rig.daemon.control, 'GET', '/api/audit-log?limit=1001').catch(
      (thrown: unknown) => thrown,
    );
    expect(error).toMatchObject({
      code: 'USAGE',
      what: 'Found "1001"',
      next: 'Give a whole number from 0 to 1000',
    });
  });

  it('a problem without a next step has no member "next"', async () => {
    const found = problemSchema.parse((await ask('/999999')).json());
    expect(found).toMatchObject({ title: 'Not found', detail: 'No entry has the id postern:999999.' });
    expect(found).not.toHaveProperty('next');
  });

  it.each([
    "' OR 1=1 --",
    "'; DROP TABLE audit_log; --",
    '%',
    '_',
    '\\',
    '\u0000',
    '") UNION SELECT value FROM meta --',
  ])('SQL in every filter finds nothing and breaks nothing: %j', async (text) => {
    for (const key of ['resource_type', 'action', 'user', 'server', 'q']) {
      const { status, json } = await ask(`?source=postern&limit=5&${key}=${encodeURIComponent(text)}`);
      expect([key, status, json().total]).toEqual([key, 200, key === 'q' && text === '\\' ? 1 : 0]);
    }
    for (const key of ['from', 'to', 'ip', 'outcome', 'source', 'cursor', 'page', 'limit', 'format']) {
      const { status, json } = await ask(`?${key}=${encodeURIComponent(text)}`);
      expect([key, status, json().parameter]).toEqual([key, 400, key]);
    }
    expect((await ask('?source=postern&limit=1')).json().total).toBe(ROWS);
  });

  it.each([
    '/../../etc/passwd',
    '/%2e%2e/%2e%2e/etc/passwd',
    '/..%2f..%2fetc%2fpasswd',
    '/postern:1/../../../status',
    '/%00',
    '/%',
    '//evil.example',
    '/7%0d%0aSet-Cookie:x=1',
  ])('the path %s is not found', async (path) => {
    const answer = await rig.raw(`/api/audit-log${path}`, { authorization: `Bearer ${token}` });
    expect([400, 404]).toContain(answer.status);
    expect(answer.headers.get('content-type')).toContain('application/problem+json');
    expect(answer.headers.has('set-cookie')).toBe(false);
  });
});
