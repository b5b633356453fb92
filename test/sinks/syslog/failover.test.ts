import { describe, expect, it } from 'vitest';
import { parseFingerprint, parseTarget } from '../../../src/config/syslog.js';
import { afterFailure, earlierTargets, HEALTHY, tryOrder } from '../../../src/sinks/syslog/failover.js';

describe('a target', () => {
  it.each([
    ['siem.example.net:6514', 'siem.example.net', 6514],
    ['10.0.0.1:514', '10.0.0.1', 514],
    ['[2001:db8::1]:6514', '2001:db8::1', 6514],
    ['[fe80::1%eth0]:514', 'fe80::1%eth0', 514],
  ])('%s', (text, host, port) => expect(parseTarget(text)).toEqual({ kind: 'host', host, port, text }));

  it('a target may be a path', () => {
    expect(parseTarget('/dev/log')).toEqual({ kind: 'path', path: '/dev/log', text: '/dev/log' });
  });

  it.each([
    '',
    'host',
    'host:',
    ':514',
    'host:0',
    'host:65536',
    '2001:db8::1:514',
    '[host]:514',
    '[::1]',
    'a b:1',
    'dev/log',
  ])('is rejected: %j', (text) => expect(parseTarget(text)).toBeNull());
});

describe('a fingerprint', () => {
  const hex = 'ab'.repeat(32);
  it.each([hex, hex.toUpperCase(), `SHA256:${hex}`, `sha-256:${hex.replace(/..(?!$)/g, '$&:')}`])(
    '%s',
    (text) => expect(parseFingerprint(text)).toBe(hex),
  );
  it.each(['', 'ab', `${hex}00`, `sha1:${'ab'.repeat(20)}`, `${hex.slice(2)}zz`])('is rejected: %j', (text) =>
    expect(parseFingerprint(text)).toBeNull(),
  );
});

describe('the order in which targets are tried', () => {
  const failed = (times: number, at: number) => {
    let standing = HEALTHY;
    for (let n = 0; n < times; n++) standing = afterFailure(standing, at);
    return standing;
  };

  it.each([
    ['as configured', [HEALTHY, HEALTHY, HEALTHY], [0, 1, 2]],
    ['one that failed goes last', [failed(1, 0), HEALTHY, HEALTHY], [1, 2, 0]],
    [
      'of those that failed the one that failed less often',
      [failed(3, 0), failed(1, 0), failed(2, 0)],
      [1, 2, 0],
    ],
    ['equal ones as configured', [failed(1, 0), failed(1, 0)], [0, 1]],
    ['a time that is up counts no more', [failed(1, -10_001), HEALTHY], [0, 1]],
  ])('%s', (_, standings, order) => expect(tryOrder(standings, 0)).toEqual(order));

  it('a failed target is avoided for 10 s, doubling up to 5 minutes', () => {
    expect([1, 2, 3, 10, 1_000].map((times) => failed(times, 0).avoidedUntil)).toEqual([
      10_000, 20_000, 40_000, 300_000, 300_000,
    ]);
  });

  it.each([
    [0, [HEALTHY, HEALTHY], []],
    [1, [HEALTHY, HEALTHY], [0]],
    [1, [failed(1, 0), HEALTHY], []],
    [2, [failed(1, 0), HEALTHY, HEALTHY], [1]],
  ])('failover returns from %i to an earlier healthy target', (current, standings, earlier) =>
    expect(earlierTargets(standings, current, 1)).toEqual(earlier),
  );
});
