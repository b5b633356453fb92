import { describe, expect, it } from 'vitest';
import { config } from '../../../src/config/schema.js';
import { BanTarget, bansAddressesOnly, prefixInUse } from '../../../src/sinks/files/ban-target.js';

function rules(fail2ban: Record<string, unknown> = {}) {
  return config.parse({ fail2ban }).fail2ban;
}

describe('whom a failed login bans', () => {
  it.each<[string, Record<string, unknown>, string, string]>([
    ['the /64 of an IPv6 address', {}, '2001:db8:1:2:3::4', '2001:db8:1:2::/64'],
    ['an IPv4 address alone', {}, '203.0.113.7', '203.0.113.7'],
    ['the address alone, with 128', { ipv6_prefix: 128 }, '2001:db8:1:2:3::4', '2001:db8:1:2:3::4'],
    ['another network', { ipv6_prefix: 48 }, '2001:db8:1:2:3::4', '2001:db8:1::/48'],
    [
      'the address alone, by an action that can not ban networks',
      { banaction: 'iptables-ipset-proto6' },
      '2001:db8:1:2:3::4',
      '2001:db8:1:2:3::4',
    ],
    [
      'the address alone, in the network of one that is never to be banned',
      { never_ban: ['2001:db8:1:2::5'] },
      '2001:db8:1:2:3::4',
      '2001:db8:1:2:3::4',
    ],
    [
      'the network beside the one of an address that is never to be banned',
      { never_ban: ['2001:db8:1:2::5', '192.0.2.0/24'] },
      '2001:db8:1:3::4',
      '2001:db8:1:3::/64',
    ],
  ])('the ban target is %s', (_, changes, address, target) => {
    expect(new BanTarget(rules(changes)).of(address)).toBe(target);
  });

  it.each([
    ['iptables-multiport', false],
    ['nftables', false],
    ['ufw', false],
    ['iptables-ipset-proto6-allports', true],
    ['firewallcmd-ipset', true],
    ['shorewall-ipset-proto6', true],
    ['iptables-xt_recent-echo', true],
    ['hostsdeny', true],
    ['cloudflare-token', true],
  ])('%s takes addresses only: %s', (banaction, only) => {
    expect(bansAddressesOnly(rules({ banaction }))).toBe(only);
    expect(prefixInUse(rules({ banaction }))).toBe(only ? 128 : 64);
    expect(bansAddressesOnly(rules({ banaction, ipv6_prefix: 128 }))).toBe(false);
  });
});
