import { describe, expect, it } from 'vitest';
import { createClassifier } from '../../src/audit/catalog.js';
import type { AuditEvent } from '../../src/audit/event.js';
import { parseId } from '../../src/commands/explain/run.js';
import { verdictOf } from '../../src/commands/explain/sink-verdict.js';
import { parseConfig } from '../../src/config/load.js';
import { plainEvent } from '../formats/events.js';
import { readBack } from '../support/read-events.js';

const now = Date.UTC(2026, 10, 22, 20, 21, 0);
const failure: AuditEvent = readBack(plainEvent, {
  type: createClassifier()('auth.login_failure', null),
  action: 'auth.login_failure',
  time: now,
});

const config = parseConfig(
  `sinks:
  all: { type: file }
  logins: { type: file, directory: /l, events: { category: [auth], outcome: [success] } }
  auth: { type: fail2ban }
fail2ban: { never_ban: [198.51.100.0/24] }`,
  'c.yml',
);

function verdict(sink: string, changes: Partial<AuditEvent> = {}, at = now): string {
  const settings = config.sinks[sink];
  if (settings === undefined) throw new Error(sink);
  const { verdict: word, why } = verdictOf(
    readBack(failure, { ...changes }),
    sink,
    settings,
    config,
    'waiting',
    at,
  );
  return why === null ? word : `${word}: ${why}`;
}

describe('what a sink does with an event', () => {
  it.each<[string, string, Partial<AuditEvent>, number, string]>([
    ['a file takes everything', 'all', {}, now, 'takes'],
    [
      'a filter says which of its keys keeps it out',
      'logins',
      {},
      now,
      'does not take: its filter is events.outcome: success',
    ],
    ['fail2ban gets a fresh failure', 'auth', {}, now + 1_000, 'takes: it is fresh'],
    [
      'fail2ban got an old one if it came in time',
      'auth',
      {},
      now + 3_600_000,
      'takes: if it arrived while it was fresh; now it would be withheld: its time is more than 50 s ago',
    ],
    [
      'fail2ban gets no other event',
      'auth',
      { action: 'auth.logout', type: createClassifier()('auth.logout', null) },
      now,
      'does not take: it takes failed logins only',
    ],
    [
      'nor one from never_ban',
      'auth',
      { address: '198.51.100.7' },
      now,
      'withholds: its address is in fail2ban.never_ban',
    ],
    [
      'nor one without an address',
      'auth',
      { address: null },
      now,
      'withholds: it has no client address that can be banned',
    ],
    ['nor one of another server', 'auth', { local: false }, now, 'withholds: it happened on another server'],
    ['nor one whose time can not be read', 'auth', { time: null }, now, "withholds: its time can't be read"],
  ])('%s', (_, sink, changes, at, expected) => {
    expect(verdict(sink, changes, at)).toBe(expected);
  });
});

describe('the id of an event', () => {
  it.each([
    ['4711', 'postern', 4711],
    ['postern:4711', 'postern', 4711],
    ['auditd:3', 'auditd', 3],
  ])('%s', (text, source, sequence) => {
    expect(parseId(text)).toEqual({ source, sequence });
  });

  it.each(['', 'x', 'other:1', '1;drop', '-1', '9'.repeat(17), 'postern:', '1.5'])('%j is none', (text) => {
    expect(() => parseId(text)).toThrow(expect.objectContaining({ code: 'USAGE' }));
  });
});
