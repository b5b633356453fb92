import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { catalog, createClassifier } from '../../src/audit/catalog.js';
import type { AuditEvent } from '../../src/audit/event.js';
import { formatEcs } from '../../src/formats/ecs.js';
import { product } from '../../src/formats/observer.js';
import { readBack } from '../support/read-events.js';
import { anyEvent } from './events.js';
import { failure, hostile, login } from './hostile-events.js';

const classify = createClassifier();
const nobody = { id: null, name: null, email: null };

/** Characters that end a line, break JSON, hide text or reverse it: C0, DEL, C1, U+2028, U+2029, bidi, zero width, BOM, lone surrogates. */
const forbidden =
  /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/;

/** The shipped filter as JavaScript: datepattern, then failregex (the real engine: test/fail2ban/filter.test.ts). */
const filter =
  /^\{"@timestamp":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z","log\.level":"[a-z]+","event":\{"action":"auth\.login_failure","outcome":"failure"[^{}]*\},"source":\{"ip":"([0-9a-f:./]+)"\},.*\}$/;

function members(line: string): Record<string, unknown> {
  return JSON.parse(line) as Record<string, unknown>;
}

describe('the ECS line', () => {
  it('an ECS line has its keys in the order that the filter relies on', () => {
    expect(formatEcs(failure)).toBe(
      '{"@timestamp":"2026-11-22T20:21:00.000Z","log.level":"warn","event":{"action":"auth.login_failure","outcome":"failure",' +
        '"kind":"event","category":["authentication"],"type":["start"],"sequence":4711,"id":"0123456789abcdef0123456789abcdef",' +
        '"created":"2026-11-22T20:21:01.000Z","dataset":"postern.audit","module":"postern"},"source":{"ip":"203.0.113.7"},' +
        '"postern":{"source":"postern","timeline":1,"server":"pp1.example.net","action":"login_failed",' +
        '"resource":{"type":"widget","id":"12"},"details":{"domain":"app.example.org","forward_port":8080}},' +
        '"message":"Login failed for jan.kowalski","user":{"id":"7","name":"jan.kowalski","email":"jan@example.org"},' +
        '"related":{"hosts":["pp1.example.net"],"ip":["203.0.113.7"],"user":["jan.kowalski"]},"host":{"name":"pp1.example.net"},' +
        `"observer":{"vendor":"Postern","product":"postern-auditd","type":"audit","version":"${product.version}"},` +
        '"ecs":{"version":"9.4.0"}}',
    );
  });

  it.each<[string, Partial<AuditEvent>, object]>([
    [
      'without an address has the text of its field',
      { address: null, rawAddress: 'x' },
      { message: 'Login failed for jan.kowalski', source: { address: 'x' }, postern: { address: 'x' } },
    ],
    [
      'of nobody has no user',
      { user: nobody },
      { message: 'Login failed', related: { ip: ['203.0.113.7'] } },
    ],
    [
      'of an e-mail address alone names it',
      { user: { ...nobody, email: 'a@b.example' } },
      { message: 'Login failed for a@b.example', user: { email: 'a@b.example' } },
    ],
    ['of an id alone', { user: { ...nobody, id: '5' } }, { message: 'Login failed', user: { id: '5' } }],
    [
      'with an empty name',
      { user: { ...nobody, name: '' } },
      { user: { name: '' }, related: { user: [''] } },
    ],
    ['of a resource id alone', { resource: { type: null, id: '9' } }, { postern: { resource: { id: '9' } } }],
    ['with a raw address', { rawAddress: '203.0.113.7:99' }, { postern: { address: '203.0.113.7:99' } }],
    ['in milliseconds', { time: 1_700_000_000_007 }, { '@timestamp': '2023-11-14T22:13:20.007Z' }],
    ['in tens of milliseconds', { time: 1_700_000_000_070 }, { '@timestamp': '2023-11-14T22:13:20.070Z' }],
  ])('an ECS line %s', (_, changes, expected) => {
    const line = members(formatEcs(readBack(failure, { ...changes })));
    expect(line).toMatchObject(expected);
    expect('ip' in (line.source as object)).toBe(changes.address !== null);
    expect('user' in line).toBe(changes.user !== nobody);
  });

  it('the message names the user, except for a login', () => {
    const type = classify('update', 'proxy_host');
    expect(members(formatEcs(readBack(failure, { type }))).message).toBe(
      'Proxy host updated by jan.kowalski',
    );
  });

  it('an event without a readable time has no time of its own, and never matches the filter', () => {
    const line = formatEcs(readBack(failure, { time: null, rawTime: '2026-11-22 25:00' }));
    expect(members(line)).toMatchObject({
      '@timestamp': '2026-11-22T20:21:01Z',
      event: { created: '2026-11-22T20:21:01.000Z' },
      postern: { time: '2026-11-22 25:00', time_unknown: true },
    });
    expect(members(formatEcs(failure)).postern).not.toHaveProperty('time_unknown');
    expect(line).not.toMatch(filter);
    expect(formatEcs(failure)).toMatch(filter);
  });

  it('any event gives one line of valid JSON with its contents', () => {
    fc.assert(
      fc.property(fc.oneof(anyEvent(catalog), hostile), (event) => {
        const line = formatEcs(event);
        expect(line).not.toMatch(forbidden);
        const {
          user,
          source,
          host,
          event: categorized,
          postern,
        } = members(line) as Record<string, Record<string, unknown> | undefined>;
        expect(categorized).toMatchObject({ action: event.action, sequence: event.sequence, id: event.id });
        expect(source?.ip ?? null).toBe(event.address);
        const { target: _target, changes: _changes, ...actor } = user ?? {};
        expect({ ...nobody, ...actor }).toEqual(event.user);
        expect(source?.address ?? null).toBe(event.address === null ? event.rawAddress : null);
        expect(host).toEqual({ name: event.server });
        expect({ type: null, id: null, ...(postern?.resource as object) }).toEqual(event.resource);
        expect(postern).toMatchObject({
          server: event.server,
          action: event.rawAction,
          timeline: event.timeline,
        });
        expect(postern?.address ?? null).toBe(event.rawAddress);
        expect(postern?.time ?? null).toBe(event.time === null ? event.rawTime : null);
        expect(postern?.time_unknown).toBe(event.time === null ? true : undefined);
        expect(postern?.details).toEqual(event.details === null ? undefined : JSON.parse(event.details));
      }),
      { numRuns: 2_000 },
    );
  });

  it('an ECS line is the same up to its timeline, whatever a client writes', () => {
    fc.assert(
      fc.property(hostile, (event) => {
        const calm: AuditEvent = readBack(event, {
          user: nobody,
          rawAction: '',
          resource: { type: null, id: null },
          rawAddress: null,
          rawTime: null,
          server: '',
          details: null,
        });
        const [trusted = ''] = /^.*?"timeline":\d+/.exec(formatEcs(calm)) ?? [];
        expect(JSON.parse(`${trusted}}}`)).toMatchObject({
          event: { id: event.id },
          postern: { timeline: event.timeline },
        });
        expect(formatEcs(event).startsWith(trusted)).toBe(true);
      }),
      { numRuns: 2_000 },
    );
  });

  it('an ECS line matches the filter only at its own address', () => {
    let matches = 0;
    fc.assert(
      fc.property(hostile, (event) => {
        const found = filter.exec(formatEcs(event))?.[1];
        const bans = event.type === login && event.time !== null && event.address !== null;
        expect(found).toBe(bans ? event.address : undefined);
        if (bans) matches++;
      }),
      { numRuns: 3_000 },
    );
    expect(matches).toBeGreaterThan(10); // 52 to 62 in 5 runs: a seed that makes a fifth of them says as much
  });
});
