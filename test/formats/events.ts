import fc from 'fast-check';
import type { EventType, Outcome, Severity } from '../../src/audit/catalog.js';
import type { AuditEvent } from '../../src/audit/event.js';
import { readBack, readRow } from '../support/read-events.js';

/** The type that the classifier makes for an unknown action. */
export const unknownType: EventType = {
  action: 'widget.frobnicated',
  category: 'widget',
  known: false,
  outcome: 'unknown',
  severity: 'info',
  title: 'Widget frobnicated',
  ecs: { category: ['configuration'], type: ['info'] },
  ocsf: { classUid: 3004, activityId: 99 },
  cef: { signature: 'widget.frobnicated', name: 'Widget frobnicated' },
  aliases: [],
};

/** The failed login of the product page, with every field that a row can have. */
export const plainEvent: AuditEvent = readRow(
  {
    created_at: '2026-11-22 20:21:00',
    user_id: 7,
    user_name: 'jan.kowalski',
    user_email: 'jan@example.org',
    action: 'frobnicated',
    resource_type: 'widget',
    resource_id: '12',
    details: '{"domain":"app.example.org","forward_port":8080}',
    ip_address: '203.0.113.7',
  },
  { id: '0123456789abcdef0123456789abcdef', classify: () => unknownType },
);

/** Hostile text of clients, and any Unicode. */
const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.string({ unit: 'grapheme', maxLength: 40 }),
  fc.string({
    unit: fc.constantFrom(
      ...[
        '=',
        '|',
        '\\',
        ']',
        '[',
        '"',
        '^',
        '\n',
        '\r',
        '\t',
        '\0',
        ' ',
        'src=',
        '\u007f',
        '\u0085',
        '\u2028',
      ],
      ...['a', 'é', '日', '😀', '%', '<13>1 ', 'CEF:0|', '{', '}', ',', '\ufeff', '\\u005e', '`', ' cs4='],
    ),
    maxLength: 30,
  }),
  // Shrinking these takes minutes and reveals nothing.
  fc.noShrink(
    fc.string({ unit: fc.constantFrom('x', 'ü', '😀', '\n', '='), minLength: 200, maxLength: 3_000 }),
  ),
);

const details = fc
  .oneof(
    fc.dictionary(fc.oneof(text, fc.constantFrom('name', '__proto__', '7')), fc.jsonValue()),
    fc.dictionary(fc.string(), text),
    fc.record({ text }),
  )
  .map((value) => JSON.stringify(value));

const severity = fc.constantFrom<Severity>('alert', 'critical', 'error', 'warning', 'notice', 'info');
const outcome = fc.constantFrom<Outcome>('success', 'failure', 'unknown');

/** The classifier's type for the action in a row. */
const anyType: fc.Arbitrary<EventType> = fc
  .record({ action: text, category: text, outcome, severity, title: text })
  .map(({ action, ...rest }) => ({
    ...unknownType,
    ...rest,
    action,
    cef: { signature: action, name: rest.title },
  }));

const time = fc.oneof(
  { weight: 4, arbitrary: fc.integer({ min: 0, max: Date.UTC(2100, 0) }) },
  { weight: 1, arbitrary: fc.integer({ min: -8.64e15, max: 8.64e15 }) },
);

/** Any event, with one of the given types or an invented one. */
export function anyEvent(types: readonly EventType[] = []): fc.Arbitrary<AuditEvent> {
  const type = types.length === 0 ? anyType : fc.oneof(anyType, fc.constantFrom(...types));
  const maybe = fc.option(text);
  return fc
    .record({
      source: fc.constantFrom('postern' as const, 'auditd' as const),
      timeline: fc.integer({ min: 1, max: 1_000 }),
      sequence: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
      id: fc.string({ unit: fc.constantFrom(...'0123456789abcdef'), minLength: 32, maxLength: 32 }),
      time: fc.option(time),
      rawTime: maybe,
      ingested: fc.integer({ min: Date.UTC(2026, 0), max: Date.UTC(2100, 0) }),
      type,
      rawAction: text,
      user: fc.record({ id: maybe, name: maybe, email: fc.option(fc.oneof(text, fc.emailAddress())) }),
      resource: fc.record({ type: maybe, id: maybe }),
      address: fc.option(fc.oneof(fc.ipV4(), fc.constantFrom('2001:db8::1', '::1'))),
      rawAddress: maybe,
      server: fc.oneof(text, fc.domain()),
      local: fc.boolean(),
      revisionOf: fc.option(fc.nat()),
      details: fc.option(details),
    })
    .map((changes) => readBack(plainEvent, changes));
}

/** Newlines, other control characters, and anything that a reader may take for the end of a line. */
export const controlCharacters = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/;

/** The value that a JSON body carries for another JSON text. A NUL becomes its picture. */
export function carriedJson(json: string): unknown {
  return JSON.parse(json.replace(/(?<!\\)((?:\\\\)*)\\u0000/g, '$1\u2400'));
}
