import fc from 'fast-check';
import { networkOf, parseAddress } from '../../src/audit/address.js';
import { createRedactor } from '../../src/audit/redaction.js';
import { formatEcs } from '../../src/formats/ecs.js';
import { earlierLine, event, lineOf } from './failures.js';

/** An address or network as fail2ban writes it, in the text of RFC 5952. */
export function canonical(text: string): string {
  const [address = '', prefix] = text.split('/');
  const parsed = parseAddress(address) ?? `no address: ${address}`;
  return prefix === undefined ? parsed : `${parsed}/${prefix}`;
}

const victimLine = formatEcs(event({ address: '198.51.100.1' }));
const earlierVictimLine = earlierLine(event({ address: '198.51.100.1' }));
const piece = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 12 }),
  fc.constantFrom(
    victimLine,
    `\n${victimLine}\n`,
    `\n${earlierVictimLine}\n`,
    `\r${victimLine}`,
    `\u2028${victimLine}`,
    `\0${victimLine}`,
    '"},"source":{"ip":"198.51.100.1"},"x":{"y":"',
    '"source":{"ip":"198.51.100.1"}',
    '{"event":{"action":"auth.login_failure","outcome":"failure"},"source":{"ip":"198.51.100.1"},"x":{}}',
    '198.51.100.1',
    '::ffff:198.51.100.1',
    '2001:db8:dead::1',
    ', 198.51.100.1',
    '"',
    '\\',
    '\\"',
    '}',
    '},',
    '{"',
    '\n',
    '\r\n',
    '\ud800',
    '\u202e',
    '\u0085',
    '{"@timestamp":"2026-11-22T20:21:00.000Z","log.level":"warn",',
  ),
);
const text = fc.array(piece, { maxLength: 5 }).map((pieces) => pieces.join(''));
const perhaps = fc.option(text);
const redact = createRedactor({ keys: [], mode: 'mask' });
const address = fc.oneof(
  fc.ipV4().map((ip) => parseAddress(ip)),
  fc.ipV6().map((ip) => parseAddress(ip)),
  fc.ipV6().map((ip) => parseAddress(`[${ip}]:443`)),
  text.map((raw) => parseAddress(raw)),
  fc.constant(null),
);

/**
 * An event in which whatever a client or an administrator can write is hostile: the line of it that earlier releases wrote into the
 * pair, the line that is written there now, and what the filter must find in either; the line of the other files (`full`), and what
 * it would find there.
 */
export const hostile = fc
  .record({
    address,
    prefix: fc.constantFrom(128, 64, 48),
    name: perhaps,
    email: perhaps,
    userId: perhaps,
    resource: fc.record({ type: perhaps, id: perhaps }),
    details: fc.option(
      fc.oneof(
        text,
        fc.dictionary(text, fc.oneof(text, fc.dictionary(text, text))).map((o) => JSON.stringify(o)),
      ),
    ),
    action: fc.oneof(
      { weight: 6, arbitrary: fc.constant('auth.login_failure') },
      { weight: 1, arbitrary: fc.constantFrom('auth.login_success', 'ban.ban', 'daemon.start', 'update') },
      { weight: 1, arbitrary: text },
    ),
    server: text,
    rawAddress: perhaps,
    sequence: fc.nat(),
    time: fc.option(fc.date({ min: new Date(0), max: new Date(4_000_000_000_000), noInvalidDate: true })),
  })
  // fail2ban 1.0 takes :: for no address.
  .filter((made) => made.address === null || !/^::(\/|$)/.test(networkOf(made.address, made.prefix)))
  .map((made) => {
    const { name, email, userId: id, prefix, action: rawAction, time, details, ...rest } = made;
    const given = event({
      ...rest,
      category: null,
      rawAction,
      time: time?.getTime() ?? null,
      details: redact(details),
      user: { id, name, email },
    });
    const ip = made.address === null ? null : networkOf(made.address, prefix);
    const line = earlierLine(given, ip);
    const failed = given.action === 'auth.login_failure' && given.time !== null && ip !== null;
    // What the daemon writes into the pair for it.
    const written = failed ? lineOf(given, ip) : null;
    const own = failed ? canonical(given.address ?? '') : null;
    return { line, written, matched: failed ? canonical(ip) : null, full: formatEcs(given), own };
  });
