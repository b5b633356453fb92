import { isIP } from 'node:net';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { NetworkSet, networkOf, parseAddress } from '../../src/audit/address.js';

describe('a client address', () => {
  it.each([
    ['203.0.113.7', '203.0.113.7'],
    ['203.0.113.7:51234', '203.0.113.7'],
    ['0.0.0.0', '0.0.0.0'],
    ['2001:DB8:0:0:0:0:0:1', '2001:db8::1'],
    ['[2001:db8::1]', '2001:db8::1'],
    ['[2001:db8::1]:443', '2001:db8::1'],
    ['fe80::1%eth0', 'fe80::1'],
    ['[fe80::1%eth0]:80', 'fe80::1'],
    ['::ffff:203.0.113.7', '203.0.113.7'],
    ['::FFFF:cb00:7107', '203.0.113.7'],
    ['[::ffff:203.0.113.7]:80', '203.0.113.7'],
    ['::', '::'],
    ['1:0:0:2:0:0:0:3', '1:0:0:2::3'],
    ['1:0:2:0:3:0:4:0', '1:0:2:0:3:0:4:0'],
    ['64:ff9b::192.0.2.33', '64:ff9b::c000:221'],
  ])('%s is read as %s', (text, address) => {
    expect(parseAddress(text)).toBe(address);
  });

  it.each([
    '',
    ' 203.0.113.7',
    '203.0.113.7 ',
    '203.0.113.7\n',
    '203.0.113.07',
    '0x7f.0.0.1',
    '127.1',
    '2130706433',
    '999.1.1.1',
    '203.0.113.7:99999',
    '203.0.113.7, 198.51.100.1',
    '203.0.113.0/24',
    'example.net',
    '2001:db8::1::2',
    '[2001:db8::1',
    '2001:db8::1]',
    '[203.0.113.7',
    'fe80::1%eth0%1',
    'fe80::1%"',
    '１２７.0.0.1',
  ])('%j is no address', (text) => {
    expect(parseAddress(text)).toBeNull();
  });

  it('is always what the platform takes for an address, and stays what it is', () => {
    fc.assert(
      fc.property(fc.oneof(fc.ipV4(), fc.ipV6(), fc.string({ unit: fc.constantFrom(...'0123456789abcdef:.%[]/ ') })), (text) => {
        const address = parseAddress(text);
        if (address === null) return;
        expect(isIP(address)).not.toBe(0);
        expect(parseAddress(address)).toBe(address);
        expect(address).toMatch(/^[0-9a-f:.]+$/);
      }),
      { numRuns: 5_000 },
    );
  });

  it('accepts every valid address', () => {
    fc.assert(fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), (text) => parseAddress(text) !== null));
  });
});

describe('a network', () => {
  it.each([
    ['2001:db8:1:2:3:4:5:6', 64, '2001:db8:1:2::/64'],
    ['2001:db8:1:2ff:3:4:5:6', 56, '2001:db8:1:200::/56'],
    ['2001:db8::1', 128, '2001:db8::1'],
    ['203.0.113.7', 64, '203.0.113.7'],
  ])('of %s and /%d is %s', (address, prefix, network) => {
    expect(networkOf(address, prefix)).toBe(network);
  });

  it('contains what lies in it, in either notation', () => {
    const set = new NetworkSet(['127.0.0.0/8', '::1', '2001:db8::/32', '::ffff:192.0.2.0/120']);
    for (const inside of ['127.9.9.9', '::1', '2001:db8:ffff::1', '192.0.2.200']) expect(set.contains(inside)).toBe(true);
    for (const outside of ['128.0.0.1', '::2', '2001:db9::1', '192.0.3.1']) expect(set.contains(outside)).toBe(false);
  });

  it.each(['', 'localhost', '10.0.0.0/33', '10.0.0.0/8/8', '::/129', '10.0.0.0/', '300.0.0.0/8'])('refuses %j by name', (entry) => {
    expect(() => new NetworkSet(['192.0.2.1', entry])).toThrow(`"${entry}"`);
  });
});
