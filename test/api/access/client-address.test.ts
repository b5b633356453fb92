import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ClientAddresses } from '../../../src/api/access/client-address.js';

const clients = new ClientAddresses(['127.0.0.1', '::1', '10.0.0.0/8']);

function of(peer: string | undefined, headers: Record<string, string>, encrypted = false) {
  return clients.of(peer, encrypted, { header: (name) => headers[name] });
}

describe('the address of a client', () => {
  it.each<[string, string | undefined, string | undefined, string | null]>([
    ['without a proxy it is the peer', '203.0.113.7', undefined, '203.0.113.7'],
    ['IPv4-mapped is IPv4', '::ffff:203.0.113.7', undefined, '203.0.113.7'],
    ['who is not trusted names nobody', '203.0.113.7', '198.51.100.1', '203.0.113.7'],
    ['a trusted proxy does', '127.0.0.1', '203.0.113.7', '203.0.113.7'],
    ['so does one of a network, over IPv6 too', '::ffff:10.1.2.3', '2001:DB8::7', '2001:db8::7'],
    [
      'what the client wrote itself stands further left',
      '127.0.0.1',
      '198.51.100.1, 203.0.113.7',
      '203.0.113.7',
    ],
    ['through two trusted proxies', '127.0.0.1', '198.51.100.1, 203.0.113.7, 10.9.9.9', '203.0.113.7'],
    ['trusted all the way: the first', '127.0.0.1', '10.0.0.1, 10.0.0.2', '10.0.0.1'],
    ['the proxy itself asks', '127.0.0.1', undefined, '127.0.0.1'],
    ['an empty header', '127.0.0.1', ' , ', '127.0.0.1'],
    ['a proxy that names no address: nobody is banned for it', '127.0.0.1', 'unknown', null],
    ['with a port', '127.0.0.1', '203.0.113.7:4711', '203.0.113.7'],
    ['over the control socket', undefined, '203.0.113.7', null],
  ])('the client address is found: %s', (_, peer, forwarded, expected) => {
    const headers = forwarded === undefined ? {} : { 'x-forwarded-for': forwarded };
    expect(of(peer, headers).address).toBe(expected);
  });

  it('the client address is never one that only the client itself sent', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.ipV4(), fc.ipV6(), fc.string()), { maxLength: 30 }), (written) => {
        // The proxy appends what it saw to whatever the client had sent.
        const forwarded = [...written.map((text) => text.replaceAll(',', ' ')), '203.0.113.7'].join(', ');
        expect(of('127.0.0.1', { 'x-forwarded-for': forwarded }).address).toBe('203.0.113.7');
        expect(of('192.0.2.99', { 'x-forwarded-for': forwarded }).address).toBe('192.0.2.99');
      }),
    );
  });

  it('an untrusted peer that sends the header is reported once', () => {
    const told: Array<string | null> = [];
    const strict = new ClientAddresses([], (peer) => told.push(peer));
    for (const peer of ['127.0.0.1', '127.0.0.1', '203.0.113.7']) {
      const headers = { header: (name: string) => (name === 'x-forwarded-for' ? '198.51.100.1' : undefined) };
      expect(strict.of(peer, false, headers).address).toBe(peer);
    }
    expect(told).toEqual(['127.0.0.1']);
  });

  it('the client address is the one that the proxy at a unix socket sends, or unknown', () => {
    const told: Array<string | null> = [];
    const behind = new ClientAddresses(['10.0.0.0/8'], (peer) => told.push(peer), 'proxy');
    const at = (forwarded?: string) =>
      behind.of(undefined, false, { header: (name) => (name === 'x-forwarded-for' ? forwarded : undefined) });
    expect(at('198.51.100.1, 203.0.113.7')).toMatchObject({ address: '203.0.113.7', viaProxy: true });
    expect(at('203.0.113.7, 10.9.9.9').address).toBe('203.0.113.7');
    expect(told).toEqual([]);
    expect([at().address, at().address]).toEqual([null, null]);
    expect(told).toEqual([null]);
    expect(behind.of('203.0.113.7', false, { header: () => '198.51.100.1' }).address).toBe('203.0.113.7');
  });

  it('the client address comes with https and the host only from a trusted proxy', () => {
    const headers = { host: 'here', 'x-forwarded-proto': 'https', 'x-forwarded-host': 'there:81' };
    expect(of('127.0.0.1', headers)).toMatchObject({ secure: true, host: 'there:81' });
    expect(of('203.0.113.7', headers)).toMatchObject({ secure: false, host: 'here' });
    expect(of('203.0.113.7', headers, true)).toMatchObject({ secure: true, host: 'here' });
  });
});
