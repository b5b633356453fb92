import { describe, expect, it } from 'vitest';
import { parseAddress } from '../../src/audit/address.js';
import { createClassifier } from '../../src/audit/catalog.js';
import type { AuditEvent } from '../../src/audit/event.js';
import { createRedactor } from '../../src/audit/redaction.js';
import { parseTime } from '../../src/audit/time.js';
import { bodies } from '../../src/formats/body-formats.js';
import { formatEcs } from '../../src/formats/ecs.js';
import { fitBody } from '../../src/formats/shrink-to-size.js';
import Database from '../../src/load-sqlite.js';
import { createAuditTable } from '../../src/recorder/recorder.js';
import { createOwnSource } from '../../src/source/auditd-source.js';

// What takes eight times the text takes about eight times the time; quadratic work takes 64 times. What lies between is the room that a
// busy machine gets: processor time counts, not the clock, and the best of several tries.

const SHORT = 1 << 12;
const TIMES = 8;
const MOST = 28;
const TRIES = 6;
/** Processor time below which nothing is amiss: quadratic work on the long text is 500,000,000 steps, which take longer. */
const NOTHING_MS = 40;

/** Beginnings of what some expression looks for, with an end that never comes. */
const PIECES = [
  '-eyJ',
  '-eyJhbGciOiJIUzI1NiJ9',
  'eyJhbGciOiJIUzI1NiJ9.',
  '://a:',
  '://a:b',
  'password=',
  'password="',
  'password:\\\\"',
  'token:',
  'authorization: ',
  'bearer ',
  '-----BEGIN PRIVATE KEY-----',
  '-----BEGIN ',
  '-----BEGIN A',
  '-----END ',
  '-u',
  ' -u a',
  '-u:',
  '$2b$',
  '$argon2id$',
  '--password ',
  'curl -u ',
  '<password>',
  '"',
  "'",
  '\\',
  '\\"',
  '{"a":',
  '[',
  '[[',
  '{',
  ',',
  ':',
  '=',
  '@',
  '%',
  '/',
  'a',
  'aB',
  '1',
  '-1',
  '1e',
  '0.',
  ' ',
  '\t',
  '\n',
  '\r\n',
  '\u0000',
  '\u001b[',
  '\u202e',
  '\ud800',
  'é',
  '^',
  '|',
  '=|',
  'a.b-c_d ',
  'secret secret_',
  'key value ',
  'passwordpasswordtoken',
];

/** For whole rows in every format, which take their time. */
const SOME = [
  '-eyJ',
  'password=',
  '"',
  '\\',
  '\\"',
  '[[',
  ' ',
  '\n',
  '\u0000',
  '\u001b[',
  '\u202e',
  '\ud800',
  'é',
  '^',
  '=|',
  'aB',
];

function costOf(work: () => void, runs: number): number {
  let best = Number.POSITIVE_INFINITY;
  for (let run = 0; run < runs; run++) {
    const begin = process.cpuUsage();
    work();
    const { user, system } = process.cpuUsage(begin);
    best = Math.min(best, (user + system) / 1_000);
  }
  return best;
}

/** How many times as long the long text takes; the least that was seen, 1 if it takes no time to speak of. */
function growth(work: (text: string) => void, piece: string, tries = TRIES): number {
  const [short, long] = [SHORT, SHORT * TIMES].map((length) => {
    const text = piece.repeat(Math.ceil(length / piece.length));
    text.charCodeAt(text.length - 1); // flat, as one that was read is
    return text;
  });
  let least = Number.POSITIVE_INFINITY;
  for (let attempt = 0; attempt < tries && least > MOST; attempt++) {
    const after = costOf(() => work(long ?? ''), 1 + attempt);
    if (after < NOTHING_MS) return 1;
    least = Math.min(
      least,
      after /
        Math.max(
          0.1,
          costOf(() => work(short ?? ''), 3),
        ),
    );
  }
  return least;
}

function grows(work: (text: string) => void, pieces: readonly string[] = PIECES): string[] {
  return pieces
    .map((piece) => ({ piece, by: growth(work, piece) }))
    .filter(({ by }) => by > MOST)
    .map(({ piece, by }) => `${JSON.stringify(piece)} takes ${by.toFixed(1)} times as long`);
}

const masked = createRedactor({ keys: ['x-own-name'], mode: 'mask' });
const hashed = createRedactor({ keys: [], mode: 'hmac', hmacKey: Buffer.alloc(32, 7) });
const classify = createClassifier({ 'auth.login_failure': ['denied'] });

type Column = 'created_at' | 'user_name' | 'action' | 'resource_type' | 'details' | 'ip_address' | 'server';

/** An event as the reader makes it of a row of a table. */
function eventWith(column: Column, text: string): AuditEvent {
  const db = new Database(':memory:');
  try {
    createAuditTable(db);
    const row = { created_at: '2026-11-30 12:00:00', action: 'login_failed', [column]: text };
    const names = Object.keys(row);
    db.prepare(`INSERT INTO audit_log (${names.join(', ')}) VALUES (${names.map(() => '?').join(', ')})`).run(
      Object.values(row),
    );
    const source = createOwnSource({
      db,
      table: 'audit_log',
      sourceId: '0'.repeat(32),
      classify,
      redact: masked,
      clock: Date.now,
      server: 'here',
    });
    const event = source.row(1, 1);
    if (event === null) throw new Error('the row is not there');
    return event;
  } finally {
    db.close();
  }
}

describe('the time grows with the text, not with its square', () => {
  it('tells quadratic work', () => {
    const quadratic = (text: string) => {
      for (let at = 0; at < text.length; at += 1) text.lastIndexOf('\u0001', text.length - 1);
    };
    expect(growth(quadratic, 'a', 1)).toBeGreaterThan(MOST);
  });

  const works: ReadonlyArray<readonly [string, (text: string) => void]> = [
    ['masking of text', (text) => masked(text)],
    ['masking of text by HMAC', (text) => hashed(text)],
    ['masking of a value', (text) => masked(JSON.stringify({ user_agent: text }))],
    ['masking of a key', (text) => masked(JSON.stringify({ [text]: 'x', password: 'y' }))],
    ['masking of values under a name', (text) => masked(JSON.stringify({ name: text, value: text }))],
    [
      'masking of many values',
      (text) => masked(JSON.stringify({ password: 'y', list: text.slice(0, text.length / 8).split('') })),
    ],
    ['masking of JSON in a text', (text) => masked(JSON.stringify({ a: `{"password":${text}` }))],
    [
      'masking of JSON in a text of JSON',
      (text) => masked(JSON.stringify({ a: JSON.stringify({ b: text }) })),
    ],
    ['the classifier', (text) => void [classify(text, null), classify('update', text), classify(text, text)]],
    ['addresses', (text) => void [parseAddress(text), parseAddress(`[${text}]`), parseAddress(`::${text}`)]],
    ['times', (text) => void [parseTime(text), parseTime(`2026-11-30 12:00:00${text}`)]],
  ];
  for (const [name, work] of works) it(name, () => expect(grows(work)).toEqual([]));

  for (const column of [
    'created_at',
    'user_name',
    'action',
    'resource_type',
    'details',
    'ip_address',
    'server',
  ] as const) {
    it(`a row with much in ${column}, in every format`, () => {
      const work = (text: string) => {
        const event = eventWith(column, column === 'details' ? JSON.stringify({ note: text }) : text);
        formatEcs(event);
        for (const body of Object.values(bodies)) {
          body.format(event, {});
          fitBody(event, 2_048, body, {});
        }
      };
      expect(grows(work, SOME)).toEqual([]);
    });
  }
});
