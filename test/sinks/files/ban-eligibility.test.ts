import { describe, expect, it } from 'vitest';
import { NetworkSet } from '../../../src/audit/address.js';
import { classifyForBan } from '../../../src/sinks/files/ban-eligibility.js';
import { failure, NOON } from './files-fixture.js';

const spared = new NetworkSet(['127.0.0.0/8', '2001:db8:1::/48']);

describe('a failed login', () => {
  it.each([
    ['now', {}, 'write'],
    ['50 s ago', { time: NOON - 50_000 }, 'write'],
    ['longer ago', { time: NOON - 50_001 }, 'old'],
    ['a year ago', { time: NOON - 31_536_000_000 }, 'old'],
    ['in 1970, from a mapping error', { time: 0 }, 'old'],
    ['5 s ahead', { time: NOON + 5_000 }, 'write'],
    ['further ahead', { time: NOON + 5_001 }, 'future'],
    ['at an unreadable time', { time: null }, 'unreadable'],
    ['without an address', { address: null }, 'no_address'],
    ['at another server', { local: false }, 'other_server'],
    ['from a spared address', { address: '127.0.0.1' }, 'never_ban'],
    ['from a spared network', { address: '2001:db8:1:2::3' }, 'never_ban'],
    ['that is old and spared', { address: '127.0.0.1', time: 0 }, 'old'],
    ['of our own API', { source: 'auditd' as const }, 'write'],
  ])('a failed login (%s): %s', (_, over, expected) => {
    expect(classifyForBan(failure(1, over), NOON, spared)).toBe(expected);
  });

  it('other events are not failed logins', () => {
    const { type } = failure(1);
    expect(classifyForBan(failure(1, { action: 'auth.login_success' }), NOON, spared)).toBeNull();
    expect(classifyForBan(failure(1, { type: { ...type, category: 'ban' } }), NOON, spared)).toBeNull();
  });
});
