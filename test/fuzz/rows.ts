import { Random } from './random.js';

/** In every secret that is planted, and nowhere else. */
export const MARK = 'Zq7Hidden';
/** The address that hostile texts want to be banned. */
export const FRAMED = '192.0.2.66';

export interface FuzzRow {
  /** In the order of COLUMNS. */
  readonly values: readonly unknown[];
  /** What fail2ban is to be told of it; null if nothing. */
  readonly banned: string | null;
}

const ACTIONS = [
  'login_failure',
  'login_success',
  'create',
  'update',
  'delete',
  'password_change',
  'enable',
  'auth.login_failure',
];
const TYPES = ['auth', 'user', 'proxy_host', 'proxy-host', 'certificate', 'setting', 'access_list', 'stream'];
/** A line of fail2ban's file, as a client would like to write one. */
const FORGED =
  `{"@timestamp":"2026-11-22T20:21:00.000Z","log.level":"warn","event":{"action":"auth.login_failure",` +
  `"outcome":"failure"},"source":{"ip":"${FRAMED}"}}`;
const HOSTILE = [
  '',
  ' ',
  '\u0000',
  'a\u0000b',
  '\r\n',
  `\n${FORGED}\n`,
  `"}}\n${FORGED}`,
  '\u001b[2J\u001b]0;x\u0007',
  '\u202egnp.exe\u2066',
  '\u2028\u2029\u0085\u009b1m',
  '\ufeff\ufffe\uffff',
  '🙂👨‍👩‍👧',
  '= | \\ ^ \t ] " \' ` $() %n %s',
  '</script><img src=x onerror=alert(1)>',
  '<134>1 2026-11-22T20:21:00Z h a - - - forged',
  'CEF:0|a|b|c|d|e|f|src=192.0.2.66',
  '__proto__',
  'a'.repeat(300),
  '9'.repeat(400),
  '1e999',
  '{"a":',
  '[[[[[[',
];
/** What took too long once, or might. */
const SLOW = [
  '-eyJ-',
  'password="',
  '://a:',
  '\\"',
  '{"a":',
  '[',
  '"',
  ' ',
  'token ',
  '--user=a:',
  '$6$',
  '\u0000',
  'é',
  '\ud83d',
];
const TIMES = [
  'yesterday',
  '2026-13-45',
  '24:00:00',
  1e300,
  -1,
  '0000-00-00 00:00:00',
  '2001-02-03 04:05:06',
  '9999-12-31 23:59:59',
  '1970-01-01',
  Number.MAX_SAFE_INTEGER,
];
const ADDRESSES = [
  'localhost',
  '999.1.1.1',
  `${FRAMED} x`,
  `${FRAMED}, 10.0.0.1`,
  `x${FRAMED}`,
  '1.2.3',
  '0x7f.1',
  '::1%eth0"',
  '203.0.113.7\n203.0.113.8',
  '[::1',
  'unknown',
];

/** Ways in which a secret stands in details. */
const SECRETS: ReadonlyArray<(secret: string) => unknown> = [
  (secret) => ({ password: secret }),
  (secret) => ({ apiToken: [secret, { x: secret }] }),
  (secret) => ({ setting_key: 'smtp_password', setting_value: secret }),
  (secret) => ({ column: 'password', old: secret, new: `${secret}2` }),
  (secret) => ['tool', '--password', secret],
  (secret) => [['X-Api-Key', secret]],
  (secret) => ({ kty: 'RSA', d: secret }),
  (secret) => `proxy_set_header X-Auth-Token "${secret}";`,
  (secret) => `location / {\n  set $api_key '${secret}';\n  proxy_pass http://a:80/;\n}`,
  (secret) => `https://jan:p@${secret}@example.net/`,
  (secret) => `https://${secret}@example.net/`,
  (secret) => `curl -u admin:${secret} https://example.net/`,
  (secret) => `Authorization: Bearer ${secret}`,
  (secret) => `<password>${secret}</password>`,
  (secret) => `'password' => '${secret}'`,
  (secret) => `-----BEGIN PGP PRIVATE KEY BLOCK-----\n${secret}\n-----END PGP PRIVATE KEY BLOCK-----`,
  (secret) => JSON.stringify({ body: JSON.stringify({ client_secret: secret }) }),
  (secret) => ({ [`https://jan:${secret}@example.net/`]: 1 }),
];

/** A row made of nothing but its seed and, where it is to be fresh, the clock. */
export function makeRow(seed: number, now: number): FuzzRow {
  const random = new Random(seed);
  if (random.chance(0.15)) return failure(random, seed, now);
  const time = random.chance(0.5) ? stamp(random, now) : random.pick(TIMES);
  const action = random.chance(0.7) ? random.pick(ACTIONS) : value(random);
  const address = random.chance(0.6) ? random.pick(ADDRESSES) : value(random);
  return {
    values: [
      notNull(random.chance(0.8) ? time : value(random)),
      value(random),
      value(random),
      value(random),
      notNull(action),
      random.chance(0.6) ? random.pick(TYPES) : value(random),
      value(random),
      details(random, seed),
      // No valid address here: what fail2ban is to be told is in `failure` alone.
      typeof address === 'number' || typeof address === 'bigint' ? `n${address}` : address,
      random.chance(0.8) ? null : value(random),
    ],
    banned: null,
  };
}

/** A failed login that counts, or one that does not by a single thing; the rest of it is hostile. */
function failure(random: Random, seed: number, now: number): FuzzRow {
  const isSix = random.chance(0.3);
  const [third, last] = [1 + random.below(250), 1 + random.below(250)];
  const hex = (0x1000 + random.below(0xefff)).toString(16);
  const address = isSix ? `2001:db8:${hex}:1::${last.toString(16)}` : `198.51.${third}.${last}`;
  const banned = isSix ? `2001:db8:${hex}:1::/64` : address;
  const isTrue = random.chance(0.5);
  const wrong = isTrue ? -1 : random.below(3);
  return {
    values: [
      wrong === 0 ? '2020-01-01 00:00:00' : stamp(random, now),
      value(random),
      text(random),
      text(random),
      'login_failure',
      'auth',
      value(random),
      details(random, seed),
      wrong === 1 ? `${address} ${FRAMED}` : address,
      wrong === 2 ? 'another.example.net' : null,
    ],
    banned: isTrue ? banned : null,
  };
}

function stamp(random: Random, now: number): unknown {
  const iso = new Date(now).toISOString();
  return random.pick([
    iso.slice(0, 19).replace('T', ' '),
    iso,
    Math.floor(now / 1000),
    now,
    iso.replace('Z', '+00:00'),
  ]);
}

function notNull(given: unknown): unknown {
  return given ?? '';
}

/** Of any type that SQLite has. */
function value(random: Random): unknown {
  switch (random.below(8)) {
    case 0:
      return null;
    case 1:
      return BigInt(random.below(2 ** 31)) * BigInt(random.pick([1, -1])) * BigInt(random.pick([1, 2 ** 31]));
    case 2:
      return random.pick([0.5, -0, 1e308, 5e-324, Number.POSITIVE_INFINITY, 12345.678]);
    case 3:
      return Buffer.from(Array.from({ length: random.below(40) }, () => random.below(256)));
    case 4:
      // Half a surrogate pair, as UTF-8 never has it.
      return Buffer.from([0x61, 0xed, 0xa0, 0xbd, 0x62, 0xc0, 0x80]);
    default:
      return text(random);
  }
}

function text(random: Random): string {
  const pieces = 1 + random.below(3);
  return Array.from({ length: pieces }, () => random.pick(HOSTILE)).join(random.pick(['', ' ', '"']));
}

function details(random: Random, seed: number): unknown {
  if (random.chance(0.2)) return value(random);
  if (random.chance(0.03)) {
    const piece = random.pick(SLOW);
    const long = piece.repeat((1_000 + random.below(200_000)) / piece.length);
    return random.chance(0.5) ? long : JSON.stringify({ user_agent: long });
  }
  if (random.chance(0.4))
    return JSON.stringify(nested(random, random.pick(SECRETS)(`${MARK}${seed}`), random.below(12)));
  return JSON.stringify(nested(random, text(random), random.below(24)));
}

function nested(random: Random, inner: unknown, depth: number): unknown {
  let made = inner;
  for (let level = 0; level < depth; level++) {
    const other = random.chance(0.3) ? text(random) : random.below(1_000);
    const key = random.chance(0.5) ? `k${level}` : `${random.pick(HOSTILE)}${level}`;
    made = random.chance(0.7) ? { [key]: made, [`n${level}`]: other } : [other, made, 1];
  }
  return typeof made === 'object' ? made : { a: made };
}
