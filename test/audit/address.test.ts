import { isIP, isIPv6 } from 'node:net';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { clientAddress, NetworkSet, networkOf, parseAddress } from '../../src/audit/address.js';

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
    ['[::ffff:203.0.113.7%eth0]:80', '203.0.113.7'],
    ['::203.0.113.7', '::cb00:7107'],
    ['::fffe:203.0.113.7', '::fffe:cb00:7107'],
    ['1:2:3:4:5:6:7::', '1:2:3:4:5:6:7:0'],
    ['::2:3:4:5:6:7:8', '0:2:3:4:5:6:7:8'],
    ['0:0:1::1', '0:0:1::1'],
    ['1:0:0:1:0:0:1:1', '1::1:0:0:1:1'],
    ['ABCD:EF01:2345:6789:ABCD:EF01:2345:6789', 'abcd:ef01:2345:6789:abcd:ef01:2345:6789'],
    ['203.0.113.7:0', '203.0.113.7'],
    ['203.0.113.7:65535', '203.0.113.7'],
  ])('the address %s is read as %s', (text, address) => {
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
    'fe80::1%',
    'fe80::1%eth0]',
    '203.0.113.7%eth0',
    '[203.0.113.7]',
    '[203.0.113.7]:80',
    '[]',
    '[::1]80',
    '[::1]:',
    '[::1]:65536',
    '[::1]:8a',
    '[[::1]]',
    '203.0.113.7:',
    '203.0.113.7:-1',
    '203.0.113.7:80:80',
    ':80',
    '1:2:3:4:5:6:7:8:9',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8::',
    '::1:2:3:4:5:6:7:8',
    ':::',
    ':1',
    '1:',
    '::1:',
    '::12345',
    '::g',
    '::1.2.3',
    '::1.2.3.4.5',
    '::1.2.3.4:5',
    '::ffff:203.0.113.07',
    '1:2:3:4:5:6:7:1.2.3.4',
    '017700000001',
    '0177.0.0.1',
    '1.2.3',
    '1.2.3.4.5',
    '1.2.3.4/32',
    '::1/128',
    'a'.repeat(91),
    '１２７.0.0.1',
  ])('%j is not an address', (text) => {
    expect(parseAddress(text)).toBeNull();
  });

  it('an accepted address is valid to Node.js, and stays the same when it is read again', () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.ipV4(), fc.ipV6(), fc.string({ unit: fc.constantFrom(...'0123456789abcdef:.%[]/ ') })),
        (text) => {
          const address = parseAddress(text);
          if (address === null) return;
          expect(isIP(address)).not.toBe(0);
          expect(parseAddress(address)).toBe(address);
          expect(address).toMatch(/^[0-9a-f:.]+$/);
        },
      ),
      { numRuns: 5_000 },
    );
  });

  it('accepts an IPv6 address exactly if Node.js does, in the text that a URL parser writes', () => {
    const pieces = fc.constantFrom(
      '0',
      '1',
      'ff',
      'ABCD',
      '0000',
      '00000',
      ':',
      '::',
      ':',
      '1.2.3.4',
      '.',
      'g',
    );
    const texts = fc.oneof(
      fc.ipV6(),
      fc.array(pieces, { maxLength: 17 }).map((parts) => parts.join('')),
      fc
        .array(fc.constantFrom('0', '0', '1', 'beef'), { minLength: 8, maxLength: 8 })
        .map((parts) => parts.join(':')),
    );
    fc.assert(
      fc.property(texts, (text) => {
        fc.pre(text.includes(':') && !/^[0-9.]+:[0-9]*$/.test(text));
        const address = parseAddress(text);
        expect(address !== null, text).toBe(isIPv6(text));
        // The host of a URL is written after RFC 5952.
        if (address?.includes(':')) expect(new URL(`http://[${text}]/`).hostname).toBe(`[${address}]`);
      }),
      { numRuns: 5_000 },
    );
  });
});

describe('a network', () => {
  it.each([
    ['2001:db8:1:2:3:4:5:6', 64, '2001:db8:1:2::/64'],
    ['2001:db8:1:2ff:3:4:5:6', 56, '2001:db8:1:200::/56'],
    ['2001:db8::1', 128, '2001:db8::1'],
    ['203.0.113.7', 64, '203.0.113.7'],
  ])('the network of %s with /%d is %s', (address, prefix, network) => {
    expect(networkOf(address, prefix)).toBe(network);
  });

  it('a network contains its addresses, in either notation', () => {
    const set = new NetworkSet(['127.0.0.0/8', '::1', '2001:db8::/32', '::ffff:192.0.2.0/120']);
    for (const inside of ['127.9.9.9', '::1', '2001:db8:ffff::1', '192.0.2.200'])
      expect(set.contains(inside)).toBe(true);
    for (const outside of ['128.0.0.1', '::2', '2001:db9::1', '192.0.3.1'])
      expect(set.contains(outside)).toBe(false);
  });

  it('a network contains exactly the addresses that share its prefix', () => {
    fc.assert(
      fc.property(
        fc.ipV6(),
        fc.integer({ min: 0, max: 128 }),
        fc.ipV6(),
        fc.boolean(),
        (base, prefix, other, near) => {
          const network = parseAddress(base) ?? '';
          const candidate = parseAddress(near ? base.replace(/[0-9a-f]$/i, '7') : other) ?? '';
          fc.pre(network.includes(':') && candidate.includes(':'));
          const same = networkOf(network, prefix) === networkOf(candidate, prefix);
          expect(new NetworkSet([`${base}/${prefix}`]).contains(candidate)).toBe(same);
        },
      ),
      { numRuns: 1_000 },
    );
    const number = (address: string) => address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
    fc.assert(
      fc.property(fc.ipV4(), fc.integer({ min: 0, max: 32 }), fc.ipV4(), (base, prefix, other) => {
        const size = 2 ** (32 - prefix);
        const same = Math.floor(number(base) / size) === Math.floor(number(other) / size);
        expect(new NetworkSet([`${base}/${prefix}`]).contains(other)).toBe(same);
      }),
      { numRuns: 1_000 },
    );
  });

  it.each([
    '',
    'localhost',
    '10.0.0.0/33',
    '10.0.0.0/8/8',
    '::/129',
    '10.0.0.0/',
    '10.0.0.1:80',
    '[::1]',
    'fe80::1%eth0',
    ' ::1',
    '10.0.0.0/-1',
    '::ffff:10.0.0.0/8',
    '300.0.0.0/8',
  ])('rejects the network %j and names it', (entry) => {
    expect(() => new NetworkSet(['192.0.2.1', entry])).toThrow(`"${entry}"`);
  });
});

describe('the client of a list of addresses', () => {
  const trusted = new NetworkSet(['172.16.0.0/12', '10.0.0.1', 'fd00::/8']);

  it.each([
    ['203.0.113.7, 172.18.0.1', '203.0.113.7'],
    ['203.0.113.7,172.18.0.1', '203.0.113.7'],
    ['198.51.100.1, 203.0.113.7, 172.18.0.1, 10.0.0.1', '203.0.113.7'],
    ['198.51.100.1, 203.0.113.7', '203.0.113.7'],
    ['172.18.0.2, 172.18.0.1', '172.18.0.2'],
    ['2001:DB8::1, [fd00::1]:443', '2001:db8::1'],
    ['203.0.113.7:4711, ::ffff:172.18.0.1', '203.0.113.7'],
    ['unknown, 203.0.113.7, 172.18.0.1', '203.0.113.7'],
    [`${'x'.repeat(100_000)}, 203.0.113.7, 172.18.0.1`, '203.0.113.7'],
    ['203.0.113.7', '203.0.113.7'],
    ['172.18.0.1', '172.18.0.1'],
    ['203.0.113.7, unknown, 172.18.0.1', null],
    ['203.0.113.7, ', null],
    ['203.0.113.7,,172.18.0.1', null],
    [', 172.18.0.1', null],
    [',', null],
    ['203.0.113.7; 172.18.0.1', null],
    ['203.0.113.7 172.18.0.1', null],
    ['unknown, 172.18.0.1', null],
    [`203.0.113.7,${' '.repeat(100_000)}172.18.0.1`, null],
  ])('the client in the address list %s', (text, address) => {
    expect(clientAddress(text, trusted)).toBe(address);
  });

  it('the client is unknown if no proxy is trusted', () => {
    expect(clientAddress('203.0.113.7, 172.18.0.1', null)).toBeNull();
    expect(clientAddress('203.0.113.7', null)).toBe('203.0.113.7');
  });

  it('finds the client in a list of a million proxies', () => {
    expect(clientAddress(`203.0.113.7${',172.18.0.1'.repeat(1_000_000)}`, trusted)).toBe('203.0.113.7');
  });
});
