import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { catalog, createClassifier } from '../../src/audit/catalog.js';
import type { AuditEvent } from '../../src/audit/event.js';
import { createRedactor } from '../../src/audit/redaction.js';
import { formatEcs, parseEcsPosition } from '../../src/formats/ecs.js';
import { formatHeader } from '../../src/sinks/files/fail2ban-files.js';
import { readBack } from '../support/read-events.js';
import { anyEvent, plainEvent } from './events.js';

const classify = createClassifier();
const login = classify('login_failed', 'auth');
const failure: AuditEvent = readBack(plainEvent, {
  type: login,
  action: login.action,
  rawAction: 'login_failed',
});
const nobody = { id: null, name: null, email: null };

/** Characters that end a line, break JSON, hide text or reverse it: C0, DEL, C1, U+2028, U+2029, bidi, zero width, BOM, lone surrogates. */
const forbidden =
  /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/;

/** The shipped filter as JavaScript: datepattern, then failregex (the real engine: test/fail2ban/filter.test.ts). */
const filter =
  /^\{"@timestamp":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z","log\.level":"[a-z]+","event":\{"action":"auth\.login_failure","outcome":"failure"[^{}]*\},"source":\{"ip":"([0-9a-f:./]+)"\},.*\}$/;

const victim = formatEcs(readBack(failure, { address: '198.51.100.1' }));
const attack = fc
  .array(
    fc.oneof(
      fc.string({ unit: 'binary', maxLength: 10 }),
      fc.constantFrom(
        victim,
        `\n${victim}\n`,
        `\r${victim}`,
        `\u2028${victim}`,
        `\u0085${victim}`,
        `\0${victim}`,
        '"},"source":{"ip":"198.51.100.1"},"x":{"y":"',
        '","ip":"198.51.100.1"},"z":"',
        '","postern":{"source":"auditd","timeline":99,"x":{"y":"',
        '"ecs":{"version":"8.17.0"},"postern":{"source":"auditd","timeline":99,',
        'auth.login_failure',
        '\\',
        '"',
        '\ud800',
        '\udfff',
        '\u202e',
        '\ufeff',
      ),
    ),
    { maxLength: 4 },
  )
  .map((pieces) => pieces.join(''));
const perhaps = fc.option(attack);
const redact = createRedactor({ keys: [], mode: 'mask' });

/** An event in which a client, or somebody with access to Postern's rows, has chosen every text. */
const hostile: fc.Arbitrary<AuditEvent> = fc
  .record({
    kind: fc.oneof(
      fc.constantFrom(...catalog, login, login, login, login),
      fc.tuple(attack, perhaps).map(([action, resourceType]) => classify(action, resourceType)),
    ),
    time: fc.option(fc.integer({ min: 0, max: Date.UTC(9999, 11, 31) })),
    rawTime: perhaps,
    rawAction: attack,
    user: fc.record({ id: perhaps, name: perhaps, email: perhaps }),
    resource: fc.record({ type: perhaps, id: perhaps }),
    address: fc.option(fc.oneof(fc.ipV4(), fc.constantFrom('2001:db8::1', '::1', 'fe80::5'))),
    rawAddress: perhaps,
    server: attack,
    details: fc
      .option(
        fc.oneof(
          attack,
          fc.dictionary(attack, attack).map((value) => JSON.stringify(value)),
          fc.json(),
        ),
      )
      .map(redact),
  })
  .map(({ kind, ...rest }) => readBack(failure, { ...rest, type: kind, action: kind.action }));

function members(line: string): Record<string, unknown> {
  return JSON.parse(line) as Record<string, unknown>;
}

describe('the ECS line', () => {
  it('an ECS line has its keys in the order that the filter relies on', () => {
    expect(formatEcs(failure)).toBe(
      '{"@timestamp":"2026-11-22T20:21:00.000Z","log.level":"warn","event":{"action":"auth.login_failure","outcome":"failure",' +
        '"kind":"event","category":["authentication"],"type":["start"],"sequence":4711,"id":"0123456789abcdef0123456789abcdef",' +
        '"ingested":"2026-11-22T20:21:01.000Z"},"source":{"ip":"203.0.113.7"},"message":"Login failed for jan.kowalski",' +
        '"user":{"id":"7","name":"jan.kowalski","email":"jan@example.org"},"related":{"ip":["203.0.113.7"],"user":["jan.kowalski"]},' +
        '"host":{"name":"pp1.example.net"},"observer":{"vendor":"Postern","product":"postern-auditd","type":"audit"},' +
        '"ecs":{"version":"8.17.0"},"postern":{"source":"postern","timeline":1,"server":"pp1.example.net","action":"login_failed",' +
        '"resource":{"type":"widget","id":"12"},"details":{"domain":"app.example.org","forward_port":8080}}}',
    );
  });

  it.each<[string, Partial<AuditEvent>, object]>([
    [
      'without an address has no source',
      { address: null, rawAddress: 'x' },
      { message: 'Login failed for jan.kowalski' },
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
    expect('source' in line).toBe(changes.address !== null);
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
      event: { ingested: '2026-11-22T20:21:01.000Z' },
      postern: { time_unreadable: '2026-11-22 25:00' },
    });
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
        expect({ ...nobody, ...user }).toEqual(event.user);
        expect(host).toEqual({ name: event.server });
        expect({ type: null, id: null, ...(postern?.resource as object) }).toEqual(event.resource);
        expect(postern).toMatchObject({
          server: event.server,
          action: event.rawAction,
          timeline: event.timeline,
        });
        expect(postern?.address ?? null).toBe(event.rawAddress);
        expect(postern?.time_unreadable).toBe(event.time === null ? (event.rawTime ?? '') : undefined);
        expect(postern?.details).toEqual(event.details === null ? undefined : JSON.parse(event.details));
      }),
      { numRuns: 2_000 },
    );
  });

  it('an ECS line is the same up to its address, whatever a client writes', () => {
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
        const trusted = formatEcs(calm).split(',"message":')[0] ?? '';
        expect(formatEcs(event).startsWith(`${trusted},"message":`)).toBe(true);
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

describe('the position of a line', () => {
  it('the position is read back from any ECS line', () => {
    fc.assert(
      fc.property(hostile, (event) => {
        const { source, timeline, sequence, id } = event;
        expect(parseEcsPosition(formatEcs(event))).toEqual({ source, timeline, sequence, id });
      }),
      { numRuns: 2_000 },
    );
  });

  it('a torn ECS line has no position', () => {
    const line = formatEcs(readBack(failure, { details: '{"a":{"b":{"c":"}}"}},"d":{}}' }));
    for (let length = 0; length < line.length; length++)
      expect(parseEcsPosition(line.slice(0, length))).toBeNull();
    for (let from = 1; from < line.length; from++) expect(parseEcsPosition(line.slice(from))).toBeNull();
    expect(parseEcsPosition(line)).not.toBeNull();
  });

  it.each([
    ['a header', formatHeader(7, Date.UTC(2026, 10, 22), 'abc')],
    ['two lines run together', `${formatEcs(failure)}${formatEcs(failure)}`],
    ['a line with a hole', formatEcs(failure).replace('jan.kowalski', '\0\0\0\0')],
    ['foreign JSON', '{"@timestamp":"2026-11-22T20:21:00.000Z","message":"x"}'],
    ['the text of a client', JSON.stringify({ message: formatEcs(failure) })],
    ['nothing', ''],
  ])('no position is read from %s', (_, line) => {
    expect(parseEcsPosition(line)).toBeNull();
  });
});
