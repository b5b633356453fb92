import { describe, expect, it } from 'vitest';
import { createClassifier } from '../../src/audit/catalog.js';
import { formatEcs } from '../../src/formats/ecs.js';
import { readRow } from '../support/read-events.js';

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

describe('the account that an event is about', () => {
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
