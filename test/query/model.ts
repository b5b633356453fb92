import fc from 'fast-check';
import { NetworkSet, parseAddress } from '../../src/audit/address.js';
import { createClassifier } from '../../src/audit/catalog.js';
import { createRedactor } from '../../src/audit/redaction.js';
import { parseTime } from '../../src/audit/time.js';
import { TimeZone } from '../../src/audit/time-zone.js';
import { EVERYTHING, type Filter } from '../../src/query/filter.js';
import { nextOf } from '../../src/query/scan/merge-sources.js';
import { SERVER, seconds, type TestRow } from './tables.js';

const classify = createClassifier();
const redact = createRedactor({ keys: [], mode: 'mask' });

interface ModelRow {
  readonly id: string;
  readonly time: number | null;
  readonly row: TestRow;
}

const text = (value: unknown): string | null => (value == null ? null : String(value));

const SPELLINGS = ['proxy_host', 'proxy-host', 'Proxy Hosts', 'ProxyHost', 'proxyhosts'];

function isOfType(found: string | null, wanted: string | null): boolean {
  return found === wanted || (wanted === 'proxy_host' && SPELLINGS.includes(found ?? ''));
}

/** The filter as a sentence would put it, over plain objects. */
function isMeant(source: string, { row, time }: ModelRow, filter: Filter): boolean {
  const kind = classify(text(row.action) ?? '', text(row.resource_type));
  const address = parseAddress(text(row.ip_address));
  const server = text(row.server) || SERVER;
  const tests: Array<readonly [unknown, boolean]> = [
    [filter.source, filter.source === source],
    [filter.resourceType, isOfType(text(row.resource_type), filter.resourceType)],
    [filter.action, kind.action === filter.action || row.action === filter.action],
    [filter.outcome, kind.outcome === filter.outcome],
    [filter.user, [row.user_id, row.user_name, row.user_email].some((value) => text(value) === filter.user)],
    [filter.server, server === filter.server],
    [filter.from, time !== null && time >= (filter.from ?? 0)],
    [filter.to, time !== null && time < (filter.to ?? 0)],
    [filter.ip, address !== null && filter.ip !== null && new NetworkSet([filter.ip]).contains(address)],
    [
      filter.q,
      (redact(text(row.details)) ?? '').toLowerCase().includes((filter.q ?? '').toLowerCase()) &&
        row.details != null,
    ],
  ];
  return tests.every(([wanted, met]) => wanted === null || met);
}

/**
 * The ids that a query has to give, in their order.
 *
 * @param timeZone of Postern's times; the daemon's own are UTC
 */
export function expected(
  tables: Readonly<Record<'postern' | 'auditd', readonly TestRow[]>>,
  filter: Filter,
  timeZone = 'UTC',
): string[] {
  const queues = (['postern', 'auditd'] as const).map((source) =>
    tables[source]
      .map((row, at): ModelRow => {
        const time = parseTime(row.created_at, source === 'postern' ? TimeZone.of(timeZone) : null);
        return { id: `${source}:${at + 1}`, time, row };
      })
      .filter((row) => isMeant(source, row, filter))
      .reverse(),
  );
  const ids: string[] = [];
  for (let at = nextOf(queues); at >= 0; at = nextOf(queues)) ids.push(queues[at]?.shift()?.id ?? '');
  return ids;
}

/** A time as other programs write it. */
function otherForms(offset: number): unknown[] {
  const text = seconds(offset);
  const ms = BigInt(Date.UTC(2026, 10, 1)) + BigInt(offset) * 1_000n;
  const fine = [ms * 1_000n + 999n, ms * 1_000_000n + 999_999n];
  return [
    `${text}.123456789 +0000 UTC`,
    `${text} +0000 UTC m=+0.000012345`,
    `${text} UTC`,
    `${text.replace(/[-:]/g, '').replace(' ', 'T')}Z`,
    ...fine,
    ...fine.map(String),
  ];
}

const maybe = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { freq: 3, nil: null });
const ADDRESSES = [
  '203.0.113.7',
  '203.0.113.7:4711',
  '::ffff:203.0.113.7',
  '[::FFFF:203.0.113.7]:80',
  '203.0.113.70',
  '203.0.114.7',
  '203.0.11',
  '2001:db8::1',
  '2001:DB8:0:0::1',
  '[2001:0db8::1]:443',
  '2001:db8::1%eth0',
  '2001:db80::1',
  '::1',
  'nobody',
  '',
  Buffer.from('203.0.113.7'),
  Buffer.from('[2001:DB8::1]:80'),
  Buffer.from([0x32, 0xff]),
];
const DETAILS = [
  '{"name":"example.net","password":"hunter2"}',
  '{"name": "Example.NET"}',
  '{"note":"\\u0065xample"}',
  'plain text, token=hunter2',
  '[1, 2, "example"]',
  '{"quote":"a_b%c!d"}',
  '',
];
export const row = fc.record({
  created_at: fc.oneof(
    fc.integer({ min: 0, max: 40 }).chain((offset) => fc.constantFrom(...otherForms(offset))),
    { weight: 8, arbitrary: fc.integer({ min: 0, max: 400_000 }).map(seconds) },
    {
      weight: 1,
      arbitrary: fc.integer({ min: 0, max: 400_000 }).map((at) => Date.UTC(2026, 10, 1) + at * 1_000),
    },
    {
      weight: 1,
      arbitrary: fc.constantFrom(
        '2026-11-02T03:04:05+02:00',
        1_793_500_000,
        'yesterday',
        '',
        '1999-01-01 00:00:00',
      ),
    },
  ),
  user_id: maybe(fc.constantFrom<unknown>(1, 2, '2', 'x', 42)),
  user_name: maybe(fc.constantFrom('admin', '2', "o'brien", 'é')),
  user_email: maybe(fc.constantFrom('admin@example.net', 'admin')),
  action: fc.constantFrom(
    'update',
    'create',
    'delete',
    'login_failure',
    'loginFailed',
    'Login Failed',
    'login_success',
    'proxy_host.update',
    'weird',
    'logout',
  ),
  resource_type: maybe(fc.constantFrom(...SPELLINGS, 'user', 'auth', 'certificate', 'proxy-host-2', '')),
  details: maybe(fc.constantFrom(...DETAILS)),
  ip_address: maybe(fc.constantFrom<unknown>(...ADDRESSES)),
  server: maybe(fc.constantFrom(SERVER, 'proxy-2', '')),
});
const time = fc.integer({ min: 0, max: 400_000 }).map((at) => Date.UTC(2026, 10, 1) + at * 1_000);
const filter: fc.Arbitrary<Filter> = fc.record({
  resourceType: maybe(fc.constantFrom('proxy_host', 'user', 'ProxyHost', 'none')),
  action: maybe(
    fc.constantFrom(
      'auth.login_failure',
      'proxy_host.update',
      'update',
      'loginFailed',
      'user.update',
      'unknown.weird',
      'weird',
      'none',
    ),
  ),
  user: maybe(fc.constantFrom('2', '02', 'admin', "o'brien", 'admin@example.net', 'x', 'none', '%')),
  from: maybe(time),
  to: maybe(time),
  server: maybe(fc.constantFrom(SERVER, 'proxy-2', 'none')),
  ip: maybe(
    fc.constantFrom(
      '203.0.113.7',
      '203.0.113.0/24',
      '203.0.112.0/23',
      '203.0.113.7/32',
      '0.0.0.0/0',
      '2001:db8::1',
      '2001:db8::/32',
      '2000::/3',
      '::1',
      '::/0',
    ),
  ),
  outcome: maybe(fc.constantFrom('success', 'failure', 'unknown')),
  source: maybe(fc.constantFrom('postern', 'auditd')),
  q: maybe(
    fc.constantFrom(
      'example',
      'EXAMPLE.net',
      'hunter2',
      '***',
      '"name"',
      'text',
      'a_b',
      'a%',
      'plain text',
      '": "',
    ),
  ),
  allowMissing: fc.constant(false),
  archives: fc.constant(false),
});
/** Mostly one or two parts: with all of them nothing is left. Of the table alone. */
export const sparse = fc
  .tuple(
    filter,
    fc.uniqueArray(fc.constantFrom(...(Object.keys(EVERYTHING) as Array<keyof Filter>)), { maxLength: 3 }),
  )
  .map(
    ([all, keys]): Filter => ({ ...EVERYTHING, ...Object.fromEntries(keys.map((key) => [key, all[key]])) }),
  );
