import { describe, expect, it } from 'vitest';
import { createClassifier } from '../../src/audit/catalog.js';
import { formatEcs } from '../../src/formats/ecs.js';
import { formatLeef } from '../../src/formats/leef.js';
import { createOtlpJson } from '../../src/formats/otlp-json.js';
import { createOtlpProtobuf } from '../../src/formats/otlp-protobuf.js';
import { readRow } from '../support/read-events.js';
import { plainEvent } from './events.js';
import { parseLeef } from './leef-parser.js';

function line(action: string, details: unknown, more: object = {}): Record<string, Record<string, unknown>> {
  const text = details === null ? null : JSON.stringify(details);
  const row = {
    created_at: '2026-11-22 20:21:00',
    user_id: 1,
    user_name: 'anna',
    action,
    resource_type: 'user',
  };
  return JSON.parse(formatEcs(readRow({ ...row, resource_id: 4, details: text, ...more }))) as Record<
    string,
    Record<string, unknown>
  >;
}

const ANNA = { id: '1', name: 'anna' };

/** A user was renamed, as a row. */
const renamed = () =>
  readRow({
    created_at: '2026-11-22 20:21:00',
    user_id: 1,
    user_name: 'anna',
    action: 'user.update',
    resource_type: 'user',
    resource_id: 4,
    details: JSON.stringify({
      before: { name: 'ben', email: 'b@example.org' },
      after: { name: 'b^n\nno', email: 'b@example.org' },
    }),
  });

describe('the account that an event is about', () => {
  it('is named in LEEF by attributes of its own', () => {
    const { attributes } = parseLeef(formatLeef(renamed()));
    expect(attributes).toMatchObject({
      usrName: 'anna',
      targetUserId: '4',
      targetUserName: 'ben',
      targetUserEmail: 'b@example.org',
    });
    expect(Object.keys(parseLeef(formatLeef(plainEvent)).attributes).join()).not.toContain('target');
  });

  it('is named in OTLP by the names of ECS, in both encodings', () => {
    const [, json = ''] = createOtlpJson(100_000).format(renamed()).split('\n');
    const { attributes } = JSON.parse(json) as {
      attributes: Array<{ key: string; value: { stringValue?: string } }>;
    };
    const users = attributes.filter(({ key }) => key.startsWith('user.'));
    expect(Object.fromEntries(users.map(({ key, value }) => [key, value.stringValue]))).toEqual({
      'user.id': '1',
      'user.name': 'anna',
      'user.target.id': '4',
      'user.target.name': 'ben',
      'user.target.email': 'b@example.org',
      'user.changes.name': 'b^n\u240ano',
    });
    // The names and values of protobuf are those of JSON: test/sinks/http/otlp-witness.test.ts.
    expect(createOtlpProtobuf(100_000).format(renamed())).toContain('user.target.email');
  });

  it('has room in OTLP, however long its names are', () => {
    const name = '€'.repeat(20_000);
    const row = {
      action: 'user.create',
      resource_type: 'user',
      details: JSON.stringify({ name, email: name }),
    };
    const made = createOtlpProtobuf(1_000_000).format(readRow({ ...row, resource_id: 'x'.repeat(5_000) }));
    expect(Buffer.from(made, 'latin1').toString('utf8').split(name)).toHaveLength(5);
  });

  it.each<[string, string, unknown, object, string[]]>([
    [
      'created, described by its members',
      'user.create',
      { name: 'ben', email: 'ben@example.org', roles: ['editor'], is_disabled: false },
      { target: { id: '4', name: 'ben', email: 'ben@example.org' } },
      ['anna', 'ben'],
    ],
    [
      'created, described by what there was not before',
      'user.create',
      { before: null, after: { username: 'ben', full_name: 'Ben B.' } },
      { target: { id: '4', name: 'ben', full_name: 'Ben B.' } },
      ['anna', 'ben'],
    ],
    [
      'deleted',
      'user.delete',
      { old: { name: 'ben' }, new: null },
      { target: { id: '4', name: 'ben' } },
      ['anna', 'ben'],
    ],
    [
      'renamed, described as a whole',
      'user.update',
      { before: { name: 'ben', email: 'b@example.org' }, after: { name: 'benno', email: 'b@example.org' } },
      { target: { id: '4', name: 'ben', email: 'b@example.org' }, changes: { name: 'benno' } },
      ['anna', 'ben', 'benno'],
    ],
    [
      'renamed, described by its fields',
      'user.update',
      {
        changes: {
          email: ['b@example.org', 'c@example.org'],
          name: { from: 'ben', to: 'benno' },
          x: ['1', '2'],
        },
      },
      {
        target: { id: '4', name: 'ben', email: 'b@example.org' },
        changes: { name: 'benno', email: 'c@example.org' },
      },
      ['anna', 'ben', 'benno'],
    ],
    ['with a new password', 'user.password_change', null, { target: { id: '4' } }, ['anna']],
    [
      'known by its e-mail address',
      'user.disable',
      { email: 'ben@example.org' },
      { target: { id: '4', email: 'ben@example.org' } },
      ['anna', 'ben@example.org'],
    ],
    [
      'with members that are no text',
      'user.update',
      { name: { first: 'ben' }, email: ['x'], full_name: 7, user_email: '' },
      { target: { id: '4' } },
      ['anna'],
    ],
    ['of the actor', 'user.update', { name: 'anna' }, { target: { id: '4', name: 'anna' } }, ['anna']],
    ['in details that are a list', 'user.update', [1, 2], { target: { id: '4' } }, ['anna']],
  ])('%s', (_, action, details, expected, names) => {
    const { user, related } = line(action, details);
    expect(user).toEqual({ ...ANNA, ...expected });
    expect(related?.user).toEqual(names);
  });

  it('is named also if the row names no actor', () => {
    const { user, related } = line(
      'user.create',
      { name: 'ben' },
      { user_id: null, user_name: null, resource_id: null },
    );
    expect(user).toEqual({ target: { name: 'ben' } });
    expect(related?.user).toEqual(['ben']);
  });

  it('is not looked for in other events', () => {
    expect(line('update', { name: 'ben' }, { resource_type: 'proxy_host' }).user).toEqual(ANNA);
  });

  it('keys of a client are never members', () => {
    const hostile = JSON.parse(
      '{"__proto__":{"name":"x"},"postern":{"source":"auditd"},"constructor":"y"}',
    ) as object;
    for (const details of [hostile, { before: hostile, after: hostile }, { changes: hostile }])
      expect(line('user.update', details).user).toEqual({ ...ANNA, target: { id: '4' } });
  });

  it('long details are not parsed again', () => {
    expect(line('user.update', { name: 'ben', x: 'x'.repeat(70_000) }).user).toEqual({
      ...ANNA,
      target: { id: '4' },
    });
  });

  it('a type of this category has a target, whatever its action', () => {
    expect(createClassifier()('frobnicate', 'user').category).toBe('user');
    expect(line('frobnicate', { name: 'ben' }).user).toMatchObject({ target: { name: 'ben' } });
  });
});
