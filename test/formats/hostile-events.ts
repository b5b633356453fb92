import fc from 'fast-check';
import { catalog, createClassifier } from '../../src/audit/catalog.js';
import type { AuditEvent } from '../../src/audit/event.js';
import { createRedactor } from '../../src/audit/redaction.js';
import { formatEcs } from '../../src/formats/ecs.js';
import { readBack } from '../support/read-events.js';
import { formatEarlierEcs } from './earlier-ecs.js';
import { plainEvent } from './events.js';

const classify = createClassifier();
export const login = classify('login_failed', 'auth');
export const failure: AuditEvent = readBack(plainEvent, {
  type: login,
  action: login.action,
  rawAction: 'login_failed',
});

const victim = formatEcs(readBack(failure, { address: '198.51.100.1' }));
const earlierVictim = formatEarlierEcs(readBack(failure, { address: '198.51.100.1' }));
const attack = fc
  .array(
    fc.oneof(
      fc.string({ unit: 'binary', maxLength: 10 }),
      fc.constantFrom(
        victim,
        earlierVictim,
        `\n${victim}\n`,
        `\r${victim}`,
        `\u2028${victim}`,
        `\u0085${victim}`,
        `\0${victim}`,
        '"},"source":{"ip":"198.51.100.1"},"x":{"y":"',
        '","ip":"198.51.100.1"},"z":"',
        '","postern":{"source":"auditd","timeline":99,"x":{"y":"',
        '"ecs":{"version":"8.17.0"},"postern":{"source":"auditd","timeline":99,',
        '"},"postern":{"source":"auditd","timeline":99,"server":"',
        'postern',
        'source',
        'auth.login_failure',
        '\\',
        '"',
        '\ud800',
        '\udfff',
        '\u202e',
        '\ufeff',
      ),
    ),
    { maxLength: 4 },
  )
  .map((pieces) => pieces.join(''));
const perhaps = fc.option(attack);
/** What an event about a user may have in its details. */
const account = fc.dictionary(
  fc.oneof(fc.constantFrom('name', 'email', 'full_name', 'username'), attack),
  attack,
);
const redact = createRedactor({ keys: [], mode: 'mask' });

/** An event in which a client, or somebody with access to Postern's rows, has chosen every text. */
export const hostile: fc.Arbitrary<AuditEvent> = fc
  .record({
    kind: fc.oneof(
      fc.constantFrom(...catalog, login, login, login, login),
      fc.tuple(attack, perhaps).map(([action, resourceType]) => classify(action, resourceType)),
    ),
    time: fc.option(fc.integer({ min: 0, max: Date.UTC(9999, 11, 31) })),
    rawTime: perhaps,
    rawAction: attack,
    user: fc.record({ id: perhaps, name: perhaps, email: perhaps }),
    resource: fc.record({ type: perhaps, id: perhaps }),
    address: fc.option(fc.oneof(fc.ipV4(), fc.constantFrom('2001:db8::1', '::1', 'fe80::5'))),
    rawAddress: perhaps,
    server: attack,
    details: fc
      .option(
        fc.oneof(
          attack,
          fc.dictionary(attack, attack).map((value) => JSON.stringify(value)),
          fc.record({ before: account, after: account }).map((value) => JSON.stringify(value)),
          account.map((value) => JSON.stringify(value)),
          fc.json(),
        ),
      )
      .map(redact),
  })
  .map(({ kind, ...rest }) => readBack(failure, { ...rest, type: kind, action: kind.action }));
