import { closeSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { getPriority } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { toSafeJson } from '../../src/audit/unsafe-characters.js';
import Database from '../../src/load-sqlite.js';
import { CSV_HEADER, csvEntry } from '../../src/query/csv.js';
import { EVERYTHING } from '../../src/query/filter.js';
import { createQueryService, type QueryService } from '../../src/query/service.js';
import { Writer } from '../source/process.js';
import { compiled, removeCompiled } from '../support/compiled.js';
import { seconds, Tables } from './tables.js';

describe('the query thread', () => {
  let tables: Tables;
  let service: QueryService;
  const worker = pathToFileURL(join(compiled(), 'query/thread/worker.js'));
  beforeAll(() => {
    tables = new Tables();
    tables.insert(
      Array.from({ length: 5_000 }, (_, at) => ({
        created_at: seconds(at),
        action: 'update',
        resource_type: 'user',
      })),
    );
    service = createQueryService({ ...tables.options(), worker });
  });
  afterAll(async () => {
    await service.close();
    tables.remove();
    removeCompiled();
  });

  it('the query thread lists the unknown names of an empty answer, and accepts a word that only Postern uses', async () => {
    const noteOf = async (filter: Partial<typeof EVERYTHING>) =>
      (await service.page({ ...EVERYTHING, ...filter })).note;
    expect(await noteOf({ action: 'nope' })).toBe('no action named "nope" in the catalog of events');
    expect(await noteOf({ action: 'auth.login_failur' })).toMatch(/; did you mean auth\.login_failure\?$/);
    expect(await noteOf({ action: 'login_failur' })).toMatch(/; did you mean auth\.login_failure\?$/);
    expect(await noteOf({ action: 'auth' })).toMatch(
      /^no action named auth, which is a category: .*auth\.\w+/,
    );
    expect(await noteOf({ resourceType: 'proxy_hosst' })).toMatch(
      /no resource type named .* mean proxy_host\?/,
    );
    expect(await noteOf({ action: 'auth.logout', user: 'nobody' })).toBeUndefined();
    expect((await service.stats({ ...EVERYTHING, action: 'nope' })).note).toContain('"nope"');
    const { bytes } = await service.text({ ...EVERYTHING, action: 'nope' }, 'json');
    expect(JSON.parse(Buffer.from(bytes).toString())).toMatchObject({
      entries: [],
      note: expect.any(String),
    });
    const own = new Tables();
    own.insert([{ created_at: seconds(1), action: 'auth.login_failur', resource_type: 'widget' }]);
    const other = createQueryService({ ...own.options(), worker });
    const found = await other.page({ ...EVERYTHING, action: 'auth.login_failur' });
    expect([found.total, found.note]).toEqual([1, undefined]);
    await other.close();
    own.remove();
  });

  it('the query thread answers pages and counts', async () => {
    const page = await service.page({ ...EVERYTHING, action: 'user.update' }, { limit: 3 });
    expect(page.entries.map(({ id }) => id)).toEqual(['postern:5000', 'postern:4999', 'postern:4998']);
    expect([page.total, page.total_exact]).toEqual([5_000, true]);
    const stats = await service.stats(EVERYTHING);
    expect(stats.actions).toEqual([{ name: 'user.update', count: 5_000 }]);
  });

  it('the query thread streams everything, and can be stopped midway', async () => {
    let rows = 0;
    let text = '';
    for await (const chunk of service.stream(EVERYTHING, 'csv')) {
      rows += chunk.rows;
      text += Buffer.from(chunk.bytes).toString();
    }
    expect(rows).toBe(5_000);
    expect(text.split('\r\n')).toHaveLength(5_002);
    for await (const chunk of service.stream(EVERYTHING, 'ndjson')) {
      expect(chunk.rows).toBeGreaterThan(0);
      break;
    }
    expect((await service.page(EVERYTHING)).total).toBe(5_000);
  });

  it('the query thread writes the same bytes to a file as it streams, whatever is in the rows', async () => {
    const large = new Tables();
    const hostile = ['a"b\\c', '\u0000\u001f\u007f', '\u2028\ud800', 'ä€😀', '=1+1', ' ', '', '\r\n,;'];
    large.insert(
      Array.from({ length: 2_400 }, (_, at) => ({
        action: hostile[at % 7] ?? '',
        user_name: hostile[at % hostile.length] ?? '',
        resource_id: hostile[(at + 3) % hostile.length] ?? '',
        ip_address: hostile[(at + 5) % 6] ?? '',
        created_at: ['=1', seconds(at), String(at), 'a,"b"'][at % 4] ?? '',
        details:
          at % 5 === 0 ? '{}' : JSON.stringify({ [`x${at}`]: 'ä'.repeat(at === 1_000 ? 1_500_000 : 2_500) }),
      })),
    );
    const other = createQueryService({ ...large.options(), worker });
    const path = join(large.directory, 'all.ndjson');
    const file = openSync(path, 'wx');
    try {
      const parts: Uint8Array[] = [];
      for await (const { bytes } of other.stream(EVERYTHING, 'ndjson')) parts.push(bytes);
      expect(parts.length).toBeGreaterThan(4);
      const streamed = Buffer.concat(parts);
      let rows = 0;
      for await (const chunk of other.stream(EVERYTHING, 'ndjson', { fd: file })) rows += chunk.rows;
      expect(rows).toBe(2_400);
      expect(readFileSync(path).equals(streamed)).toBe(true);
      let lines = '';
      let csv = CSV_HEADER;
      for (let page = 1; page <= 3; page++) {
        const { entries } = await other.page(EVERYTHING, { page, limit: 1_000, count: 'none' });
        for (const entry of entries) {
          lines += `${toSafeJson(entry)}\n`;
          csv += csvEntry(entry);
        }
      }
      expect(streamed.equals(Buffer.from(lines))).toBe(true);
      let table = '';
      for await (const { bytes } of other.stream(EVERYTHING, 'csv')) table += Buffer.from(bytes).toString();
      expect(table === csv).toBe(true);
    } finally {
      closeSync(file);
      await other.close();
      large.remove();
    }
  });

  it.skipIf(process.platform !== 'linux')(
    'the query thread reports a full disk, also for the last chunk',
    async () => {
      const large = new Tables();
      large.insert(
        Array.from({ length: 3_000 }, () => ({ details: JSON.stringify({ x: 'x'.repeat(2_500) }) })),
      );
      const other = createQueryService({ ...large.options(), worker });
      const full = openSync('/dev/full', 'w');
      try {
        for (const one of [service, other]) {
          const rows = async () => {
            for await (const _ of one.stream(EVERYTHING, 'ndjson', { fd: full }));
          };
          await expect(rows()).rejects.toThrow('ENOSPC');
        }
      } finally {
        closeSync(full);
        await other.close();
        large.remove();
      }
    },
  );

  it('the query thread releases no lock of another thread when it ends', async () => {
    const other = new Tables();
    other.insert([{}]);
    other.postern.pragma('journal_mode = DELETE');
    const reader = new Database(other.database, { readonly: true });
    const queries = createQueryService({ ...other.options(), worker });
    const postern = await new Writer(other.database).open('delete');
    try {
      await postern.exec('PRAGMA busy_timeout = 0');
      reader.exec('BEGIN; SELECT count(*) FROM audit_log');
      expect((await queries.page(EVERYTHING)).total).toBe(1);
      await queries.close();
      await expect(postern.exec('BEGIN EXCLUSIVE')).rejects.toThrow('SQLITE_BUSY');
    } finally {
      reader.close();
      await postern.kill();
      other.remove();
    }
  });

  it('the query thread passes on errors with their codes', async () => {
    await expect(service.page(EVERYTHING, { cursor: 'x' })).rejects.toMatchObject({ code: 'USAGE' });
    await expect(service.page(EVERYTHING, { limit: 0 })).rejects.toThrow(/^limit: found 0/);
    const lost = createQueryService({ ...tables.options(), database: '/nonexistent/x.db', worker });
    await expect(lost.page(EVERYTHING)).rejects.toMatchObject({ code: 'SOURCE_UNUSABLE' });
    await lost.close();
  });

  it.skipIf(process.platform !== 'linux')(
    'the query thread has a lower priority than the delivery thread',
    async () => {
      const nices = () =>
        readdirSync('/proc/self/task').map((id) => {
          const stat = readFileSync(`/proc/self/task/${id}/stat`, 'utf8');
          return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[16]); // field 19
        });
      // The run of the tests may stand back itself, as far as there is to go.
      const expected = Math.min(19, getPriority() + 7);
      const there = () => nices().filter((nice) => nice === expected).length;
      const before = there();
      const polite = createQueryService({ ...tables.options(), worker, nice: 7 });
      expect((await polite.page(EVERYTHING)).total).toBe(5_000);
      const after = there();
      await polite.close();
      expect(after).toBe(before + 1);
    },
  );

  it('the query thread cancels a query, and answers the next one', async () => {
    const call = new AbortController();
    const page = service.page(EVERYTHING, { signal: call.signal });
    call.abort(new Error('gone'));
    await expect(page).rejects.toThrow('gone');
    expect((await service.page(EVERYTHING)).total).toBe(5_000);
  });
});
