import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { catalog, createClassifier } from '../../src/audit/catalog.js';
import type { AuditEvent } from '../../src/audit/event.js';
import { formatOcsf } from '../../src/formats/ocsf.js';
import { OCSF_VERSION, ocsfClasses } from '../../src/formats/ocsf-classes.js';
import { readBack } from '../support/read-events.js';
import { anyEvent, carriedJson, controlCharacters, plainEvent, unknownType } from './events.js';
import { hostile } from './hostile-events.js';
import { ocsfFaults, ocsfSchema } from './ocsf-schema.js';

const everyActivity = Object.entries(ocsfClasses).flatMap(([classUid, { activities }]) =>
  Object.keys(activities).map((activityId) => ({
    classUid: Number(classUid),
    activityId: Number(activityId),
  })),
);

function parse(text: string): Record<string, unknown> {
  return JSON.parse(text) as Record<string, unknown>;
}

/** The values at a path as in `observables`. */
function valuesAt(value: unknown, path: string): unknown[] {
  return path.split('.').reduce<unknown[]>(
    (found, name) =>
      found.flatMap((one) => {
        const key = name.replace('[]', '');
        const member = (one as Record<string, unknown> | undefined)?.[key];
        return name.endsWith('[]') ? (member as unknown[]) : [member];
      }),
    [value],
  );
}

describe('OCSF', () => {
  it('OCSF has the version of the published field list', () => {
    expect(OCSF_VERSION).toBe(ocsfSchema.version);
  });

  it('the names of OCSF classes and activities are those of the published list', () => {
    for (const [classUid, { name, category, activities }] of Object.entries(ocsfClasses)) {
      const published = ocsfSchema.classes[classUid];
      expect({ name, category, activities }).toEqual({
        name: published?.caption,
        category: published?.category,
        activities: published?.activities,
      });
    }
  });

  it.each(everyActivity)(
    'an OCSF event has every field that class $classUid requires in activity $activityId',
    (ocsf) => {
      const nobody = { id: null, name: null, email: null };
      const full = readBack(plainEvent, { type: { ...unknownType, ocsf } });
      const empty = readBack(full, {
        user: nobody,
        resource: { type: null, id: null },
        address: null,
        details: null,
      });
      for (const event of [full, empty, readBack(empty, { time: null, rawTime: 'yesterday' })]) {
        expect(ocsfFaults(parse(formatOcsf(event)))).toEqual([]);
        expect(ocsfFaults(parse(formatOcsf(event, { truncated: true, brief: true })))).toEqual([]);
      }
    },
  );

  it('any row gives a valid OCSF event with unchanged details', () => {
    const types = everyActivity.map((ocsf) => ({ ...unknownType, ocsf }));
    fc.assert(
      fc.property(anyEvent(types), (event) => {
        const text = formatOcsf(event);
        expect(text).not.toMatch(controlCharacters);
        const parsed = parse(text);
        expect(ocsfFaults(parsed)).toEqual([]);
        const { postern } = parsed.unmapped as { postern: Record<string, unknown> };
        expect(postern.details).toEqual(event.details === null ? undefined : carriedJson(event.details));
        expect(postern.action).toBe(event.rawAction.replaceAll('\0', '\u2400'));
      }),
    );
  });

  it('each entry of the catalog and 1,000 random rows are valid OCSF 1.8.0, with observables that point to their values', () => {
    const check = (event: AuditEvent) => {
      const parsed = parse(formatOcsf(event));
      expect(ocsfFaults(parsed)).toEqual([]);
      for (const { name, value } of (parsed.observables ?? []) as Array<Record<'name' | 'value', string>>)
        expect([name, valuesAt(parsed, name)]).toEqual([name, [value]]);
    };
    for (const type of catalog) {
      const event = readBack(plainEvent, { type, action: type.action });
      check(event);
      check(
        readBack(event, {
          source: 'auditd',
          details: '{"name":"x","finding_id":"y","email":"a@example.org"}',
        }),
      );
    }
    fc.assert(fc.property(fc.oneof(anyEvent(catalog), hostile), check), { numRuns: 1_000 });
  });

  it('an OCSF event about an account has it before and after the change', () => {
    const type = createClassifier()('update', 'user');
    const details = JSON.stringify({
      before: { name: 'ben', email: 'ben@example.org', full_name: 'Ben' },
      after: { name: 'benno', email: 'ben@example.org', full_name: 'Ben' },
    });
    const event = readBack(plainEvent, { type, resource: { type: 'user', id: '4' }, details });
    expect(parse(formatOcsf(event))).toMatchObject({
      class_uid: 3001,
      user: { uid: '4', name: 'ben', email_addr: 'ben@example.org', full_name: 'Ben' },
      user_result: { uid: '4', name: 'benno', email_addr: 'ben@example.org', full_name: 'Ben' },
      actor: { user: { name: 'jan.kowalski' } },
      observables: [{ value: '203.0.113.7' }, { value: 'jan.kowalski' }, { name: 'user.name', value: 'ben' }],
    });
  });

  it('an OCSF event about a token names it', () => {
    for (const action of ['token_create', 'token_delete']) {
      const type = createClassifier()(action, 'auth');
      const event = readBack(plainEvent, {
        type,
        resource: { type: 'auth', id: 'a1b2' },
        details: '{"name":"grafana","scope":"read"}',
      });
      expect(parse(formatOcsf(event))).toMatchObject({
        class_uid: 3004,
        entity: { type: 'token', uid: 'a1b2', name: 'grafana' },
      });
    }
  });

  it('an event has the finding of its details if it is a ban and that is an id, else its own', () => {
    const uid = 'f'.repeat(32);
    const findingOf = (action: string, finding: unknown) => {
      const type = { ...createClassifier()(action, null), ocsf: { classUid: 2004, activityId: 3 } };
      const details = JSON.stringify({ finding_id: finding });
      return (parse(formatOcsf(readBack(plainEvent, { type, details }))).finding_info as { uid: string }).uid;
    };
    expect(findingOf('ban.unban', uid)).toBe(uid);
    for (const other of ['abc', `${uid}0`, 7, null, { a: uid }])
      expect(findingOf('ban.unban', other)).toBe(plainEvent.id);
    expect(findingOf('proxy_host.update', uid)).toBe(plainEvent.id);
  });

  it('a type without an OCSF class is sent as a base event', () => {
    const type = { ...unknownType, ocsf: { classUid: 9_001, activityId: 1 } };
    expect(parse(formatOcsf(readBack(plainEvent, { type })))).toMatchObject({
      class_uid: 0,
      activity_id: 99,
    });
  });

  it('an OCSF event marks an unreadable time as unknown', () => {
    const parsed = parse(formatOcsf(readBack(plainEvent, { time: null, rawTime: 'yesterday' })));
    expect(parsed).toMatchObject({
      time: plainEvent.ingested,
      metadata: { original_time: 'yesterday' },
      unmapped: { postern: { time_unknown: true } },
    });
  });

  it('a shortened OCSF event is marked', () => {
    expect(parse(formatOcsf(plainEvent, { truncated: true }))).toMatchObject({
      metadata: { is_truncated: true },
      unmapped: { postern: { truncated: true } },
    });
  });

  it.each([
    ['alert', 5],
    ['critical', 5],
    ['error', 4],
    ['warning', 3],
    ['notice', 2],
    ['info', 1],
  ] as const)('OCSF has severity %s as severity_id %d', (severity, expected) => {
    const type = { ...unknownType, severity };
    expect(parse(formatOcsf(readBack(plainEvent, { type }))).severity_id).toBe(expected);
  });

  it("OCSF's email_addr never has an invalid address", () => {
    const user = { id: null, name: 'jan', email: 'jan at example.org' };
    const parsed = parse(formatOcsf(readBack(plainEvent, { user })));
    expect(parsed.actor).toEqual({ user: { name: 'jan' } });
    expect(parsed.unmapped).toMatchObject({ postern: { email: 'jan at example.org' } });
  });
});
