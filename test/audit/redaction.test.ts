import { createHmac } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createRedactor } from '../../src/audit/redaction.js';
import { secretNames } from '../../src/audit/secret-names.js';

const redact = createRedactor({ keys: [], mode: 'mask' });
const S = 'hunter2-Xy';

function masked(value: unknown, by = redact): unknown {
  return JSON.parse(by(JSON.stringify(value)) ?? 'null') as unknown;
}

describe('secret keys', () => {
  it.each([
    'password',
    'Password',
    'PASSWORD',
    'passwd',
    'pwd',
    'pass',
    'passphrase',
    'new_password',
    'newPassword',
    'password2',
    'password_hash',
    'passwordHash',
    'passwordhash',
    'password-confirmation',
    'smtppassword',
    'smtp.password',
    'smtp_pass',
    'secret',
    'client_secret',
    'clientSecret',
    'secret_key_base',
    'token',
    'tokens',
    'access_token',
    'accessToken',
    'accesstoken',
    'refresh-token',
    'X-Auth-Token',
    'csrfToken',
    'api_key',
    'apiKey',
    'apikey',
    'API-Key',
    'x-api-key',
    'API Key',
    'apiKey2',
    'private_key',
    'privateKey',
    'PRIVATE_KEY',
    'certificate_key',
    'ssl_key',
    'dns_provider_credentials',
    'credentials',
    'authorization',
    'Authorization',
    'proxy-authorization',
    'cookie',
    'Set-Cookie',
    'session',
    'session_id',
    'sessionId',
    'pin',
    'otp',
    'totp_secret',
    'recovery_codes',
    'basic_auth',
    'newPass',
    'old_pass',
    'pass2',
    'pin_1',
    'passHash',
    'dbpass',
    'smtpPass',
    'rootpw',
    'bindpw',
    'creds',
    'PresharedKey',
    'appkey',
  ])('masks the value of the key %s', (key) => {
    expect(masked({ [key]: S })).toEqual({ [key]: '***' });
    expect(masked({ a: [{ b: { [key]: [S, { c: S }] } }] })).toEqual({ a: [{ b: { [key]: '***' } }] });
  });

  it.each([
    'token_id',
    'tokens_created',
    'token_name',
    'access_token_expires_in',
    'password_changed_at',
    'passwordPolicy',
    'secret_name',
    'api_key_id',
    'private_key_path',
    'cookie_domain',
    'session_timeout',
    'credentials_count',
    'bypass',
    'proxy_pass',
    'pass_host_header',
    'mapping',
    'secretary',
    'tokenizer',
    'public_key',
    'key',
    'keys',
    'certificate',
    'author',
    'auth_basic',
    'hash',
    'compass',
    'grpc_pass',
    'pass_2_hosts',
    'trespass',
    'uwsgipass',
    'credit',
    'session_10_timeout',
    'spin',
    'monkey',
    'domain_names',
    '__proto__',
    'constructor',
  ])('the key %s is not secret', (key) => {
    const text = `{${JSON.stringify(key)}:"plain text"}`;
    expect(redact(text)).toBe(text);
  });

  it.each(secretNames)('masks "%s" in every spelling of the key', (name) => {
    const camel = name.replace(/ ([a-z])/g, (_, letter: string) => letter.toUpperCase());
    for (const key of [
      name,
      name.replaceAll(' ', '_'),
      name.replaceAll(' ', '-'),
      camel,
      name.toUpperCase(),
      name.replace(/[^s]$/, '$&s'),
      `my_${name}_2`,
    ]) {
      expect(masked({ [key]: S }), key).toEqual({ [key]: '***' });
    }
  });

  it('masks a key whose letters are written as escapes', () => {
    expect(redact(`{"p\\u0061ssword":"${S}","\\u0074oken":"${S}"}`)).toBe('{"password":"***","token":"***"}');
  });

  it.each([
    ['{"password":true,"token":false,"secret":null,"otp":"","cookie":0,"session":1}'],
    ['{"tokens":5,"api_keys":12}'],
  ])('a value that reveals nothing stays: %s', (text) => {
    expect(redact(text)).toBe(text);
  });

  it('masks numbers, lists and objects under a secret key', () => {
    expect(masked({ pin: 4711, secret: [1, 2], credentials: { user: 'x' } })).toEqual({
      pin: '***',
      secret: '***',
      credentials: '***',
    });
  });

  it('masks a value whose neighbour names a secret', () => {
    expect(masked({ key: 'smtp_password', value: S })).toEqual({ key: 'smtp_password', value: '***' });
    expect(masked({ changes: [{ field: 'password', old: S, new: S, by: 'jan' }] })).toEqual({
      changes: [{ field: 'password', old: '***', new: '***', by: 'jan' }],
    });
    expect(masked({ headers: [{ name: 'X-Api-Key', value: S }] })).toEqual({
      headers: [{ name: 'X-Api-Key', value: '***' }],
    });
    expect(masked({ key: 'default_site', value: '404' })).toEqual({ key: 'default_site', value: '404' });
    expect(masked({ name: 'Password reset mail', value: 'on' })).toEqual({
      name: 'Password reset mail',
      value: 'on',
    });
  });

  it('masks the keys of the configuration, in any script', () => {
    const own = createRedactor({ keys: ['internalNote', 'Kennwort', 'пароль'], mode: 'mask' });
    const names = [
      'internal_note',
      'my-internal-note-id',
      'INTERNAL_NOTES',
      'kennwort',
      'neuesKennwort',
      'пароль',
      'Пароль',
    ];
    for (const name of names) expect(masked({ [name]: S }, own), name).toEqual({ [name]: '***' });
    expect(masked({ note: S, internal: S }, own)).toEqual({ note: S, internal: S });
  });
});

describe('secrets in texts', () => {
  it.each<[string, string, string]>([
    ['a private key', 'x -----BEGIN RSA PRIVATE KEY-----\nMIIB\n-----END RSA PRIVATE KEY----- y', 'x *** y'],
    ['a truncated private key', '-----BEGIN PRIVATE KEY-----\nMIIB', '***'],
    [
      'a certificate is not a secret',
      '-----BEGIN CERTIFICATE-----\nMIIB',
      '-----BEGIN CERTIFICATE-----\nMIIB',
    ],
    ['a password in a URL', `https://jan:${S}@example.net/x`, 'https://jan:***@example.net/x'],
    ['a port in a URL is not a secret', 'https://example.net:8443/a@b', 'https://example.net:8443/a@b'],
    ['a query', `GET /x?token=${S}&page=1`, 'GET /x?token=***&page=1'],
    ['a header', `Authorization: Basic ${S}==`, 'Authorization: ***'],
    ['cookies', `host: a\nCookie: a=${S}; b="${S}"\nx: y`, 'host: a\nCookie: ***\nx: y'],
    ['a bearer', `curl -H Bearer ${S}`, 'curl -H Bearer ***'],
    ['a password hash', '$2b$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy', '***'],
    ['argon2', '$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$RdescudvJCsgt3ub+b27hg', '***'],
    ['a JSON Web Token', 'x eyJhbGciOiJI.eyJzdWIiOiIxMjM0.SflKxwRJSM y', 'x *** y'],
    ['an assignment', `password=${S} user=jan`, 'password=*** user=jan'],
    ['with a colon', `new_password: ${S}, user: jan`, 'new_password: ***, user: jan'],
    ['in quotes', `password = "a \\" ${S}" rest`, 'password = "***" rest'],
    ['in single quotes', `apiKey='a b ${S}' rest`, "apiKey='***' rest"],
    ['truncated JSON', `"user":"jan","password":"a b ${S}`, '"user":"jan","password":"***'],
    ['truncated JSON in JSON', `{\\"token\\":\\"a ${S}\\",\\"x\\":1`, '{\\"token\\":\\"***\\",\\"x\\":1'],
    ['a truncated list', `"tokens":["${S}","${S}`, '"tokens":***'],
    ['an id is not a secret', 'token_id=5 password=true', 'token_id=5 password=true'],
  ])('secrets in a text: %s', (_, text, expected) => {
    expect(masked({ note: text })).toEqual({ note: expected });
    expect(masked([text])).toEqual({ value: [expected] });
    if (!/^["{]/.test(text)) expect(JSON.parse(redact(text) ?? '')).toEqual({ text: expected });
  });

  it('masks JSON inside a string', () => {
    const inner = JSON.stringify({ user: 'jan', password: S, list: [{ token: S }] });
    expect(masked({ body: inner })).toEqual({
      body: '{"user":"jan","password":"***","list":[{"token":"***"}]}',
    });
    const untouched = '{ "user" : "jan" }';
    expect(masked({ body: untouched, password: S })).toEqual({ body: untouched, password: '***' });
    const deep = JSON.stringify({ inner });
    expect(redact(JSON.stringify({ body: deep }))).not.toContain(S);
  });
});

describe('details', () => {
  it.each<[string | null, string | null]>([
    [null, null],
    ['', null],
    ['{}', '{}'],
    [' { "a" : 1 } ', '{"a":1}'],
    ['[1,2]', '{"value":[1,2]}'],
    ['"text"', '{"value":"text"}'],
    ['null', '{"value":null}'],
    ['42', '{"value":42}'],
    ['no JSON', '{"text":"no JSON"}'],
    ['{"a":', '{"text":"{\\"a\\":"}'],
    ['NaN', '{"text":"NaN"}'],
    ['{"a":1,"a":2}', '{"a":2}'],
    ['{"__proto__":{"x":1},"a":1}', '{"__proto__":{"x":1},"a":1}'],
    ['{"__proto__":{"password":"x"},"password":"y"}', '{"__proto__":{"password":"***"},"password":"***"}'],
    ['{"id":9223372036854775807}', '{"id":"9223372036854775807"}'],
    ['{"id":9007199254740993,"ok":9007199254740992}', '{"id":"9007199254740993","ok":9007199254740992}'],
    ['{"list":[ -12345678901234567891,1]}', '{"list":["-12345678901234567891",1]}'],
    ['{"a":1e400,"b":-1E+400,"c":1e3,"d":1e-400}', '{"a":"1e400","b":"-1E+400","c":1000,"d":"1e-400"}'],
    ['{"text":"a:12345678901234567891"}', '{"text":"a:12345678901234567891"}'],
    ['{"a":"\\ud800"}', '{"a":"\\ud800"}'],
    ['\ufeff{}', '{"text":"\ufeff{}"}'],
  ])('the details %s become %s', (details, expected) => {
    expect(redact(details)).toBe(expected);
  });

  it('details with too many levels become text, with their secrets masked', () => {
    const nested = (levels: number) => `${'{"a":'.repeat(levels)}{"password":"${S}"}${'}'.repeat(levels)}`;
    expect(redact(nested(15))).toBe(nested(15).replace(S, '***'));
    const text = JSON.parse(redact(nested(16)) ?? '') as { text: string };
    expect(text.text).toBe(nested(16).replace(S, '***'));
    for (const open of ['[', '{"a":']) {
      const bottomless = open.repeat(200_000);
      expect(redact(bottomless)).toBe(JSON.stringify({ text: bottomless }));
    }
    const closed = `${'['.repeat(100_000)}${']'.repeat(100_000)}`;
    expect(redact(closed)).toBe(JSON.stringify({ text: closed }));
    const wide = JSON.stringify({ list: Array.from({ length: 500 }, () => ({ a: '[{[{' })) });
    expect(redact(wide)).toBe(wide);
    const inString = JSON.stringify({ body: closed });
    expect(redact(inString)).toBe(inString);
  });

  it('details with a blank name stay unchanged, because it names nothing', () => {
    for (const text of ['{"a":[" -","Q",null,"$MW-key"]}', '{"key":" ","value":"$MW-key"}']) {
      expect(redact(text)).toBe(text);
    }
  });

  it('details without a secret stay unchanged, whatever they contain', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 4 })), (value) => {
        const text = JSON.stringify(value);
        fc.pre(
          !/pass|pw|secret|token|key|code|cred|auth|cookie|sess|pin|otp|salt|pepper|jwt|psk|srf|sid|-u/i.test(
            text,
          ),
        );
        fc.pre(!/[^\s"]:[^\s"]*@/.test(text)); // name:password@place, which a password looks like that nobody names
        expect(redact(text)).toBe(text);
      }),
      { numRuns: 1_000 },
    );
  });

  it('the result is always a JSON object, and never contains the secret', () => {
    const junk = fc.string({ unit: 'binary', maxLength: 20 });
    const key = fc.constantFrom('password', 'apiToken', 'client-secret', 'PRIVATE_KEY', 'Cookie');
    const secret = fc.string({ unit: fc.constantFrom('Q', 'W', '7'), minLength: 12, maxLength: 20 });
    const wrap = (value: unknown, how: number, name: string): unknown =>
      [{ [name]: value }, [name, value], { a: { [name]: [value] } }, { [name]: JSON.stringify(value) }][
        how % 4
      ];
    fc.assert(
      fc.property(
        key,
        secret,
        junk,
        fc.array(fc.nat(3), { maxLength: 2 }),
        junk,
        (name, hidden, other, ways, around) => {
          const plain = ways.reduce<unknown>((value, how) => wrap(value, how, other), {
            [name]: hidden,
            [other]: 1,
          });
          for (const text of [JSON.stringify(plain), `${around} ${name}=${hidden} ${around}`]) {
            const out = redact(text) ?? '';
            if (!(other === name || around.includes('"') || around.includes("'")))
              expect(out).not.toContain(hidden);
            const value: unknown = JSON.parse(out);
            expect(typeof value === 'object' && value !== null && !Array.isArray(value)).toBe(true);
          }
        },
      ),
      { numRuns: 2_000 },
    );
  });

  // Quadratic time would be hours, longer than any test may take.
  it('masking takes time in proportion to the length, whatever the text', () => {
    const much = 2 ** 18;
    for (const piece of [
      'a',
      'password',
      'password ',
      'password=',
      'password="',
      'password: "',
      'x=',
      '://a:',
      '\\"',
      '"',
      "'",
      '{',
      '$2b$',
      'bearer ',
      'eyJ',
      '-eyJ',
      '-eyJabcdefgh.',
      'eyJabcdefgh..',
      '-----BEGIN PRIVATE KEY-----',
      '-----BEGIN CERTIFICATE-----',
      '-----BEGIN ',
      'Private-Lines ',
      ' ',
      ':',
      'cookie:',
      'a.',
      '12345678',
      '[:,',
      'u:p@tcp(',
      '@/',
      'a@/ ',
      '--user=',
      '--user=a:',
      '-u a:',
      'curl -u',
      'mysql -p',
      'mysql a ',
      'mysql "',
      'sshpass -p ',
      'set $token ',
      'map $token $x {',
      'map $token $x { default 0;',
      'proxy_set_header Cookie a;',
      '"Cookie: a" ',
      '"cookie: \\" ',
      'key="token" ',
      'key="token" value="',
      'key="token" a="',
      '<password>',
      '<password ',
      '<password></password>',
      '<key>token</key><a>',
      "('token', '",
      '["token","',
      'token "',
      'token \'"',
      'token: |\n',
      'token:\n ',
      'token:\n\n',
      'token\\',
      'token -> ',
      'token: a -> ',
      'session id ',
      'token=a,',
      'token=a,b=',
      'token=)',
      'api key ',
      'http://a:b',
      'https://a@',
      'https://a:b@c/',
      'digest a=',
      '$6$',
      '$apr1$a$',
      'pbkdf2$',
      'pbkdf2',
      '{ssha}',
      'kty"d":"',
      '"d":"kty',
      '\u00e9token',
      'token\u2028',
      '“token”：',
    ]) {
      const text = piece.repeat(much / piece.length);
      expect(redact(text)?.startsWith('{"text":'), piece).toBe(!/^\d+$/.test(text));
      redact(JSON.stringify({ text }));
      redact(JSON.stringify({ password: 'x', text: [text] }));
    }
  });
});

describe('secrets by HMAC', () => {
  const hmacKey = Buffer.from('a key that nobody knows');
  const hmac = createRedactor({ keys: [], mode: 'hmac', hmacKey });
  const of = (text: string) =>
    `hmac:${createHmac('sha256', hmacKey).update(text).digest('hex').slice(0, 16)}`;

  it('equal secrets have equal HMACs', () => {
    expect(masked({ password: S, old: { password: S, token: 'other' } }, hmac)).toEqual({
      password: of(S),
      old: { password: of(S), token: of('other') },
    });
    expect(masked({ note: `password=${S}` }, hmac)).toEqual({ note: `password=${of(S)}` });
    expect(masked({ secret: ['a', 1] }, hmac)).toEqual({ secret: of('["a",1]') });
  });

  it('masked values and HMACs stay unchanged', () => {
    const before = { password: '***', token: of('x') };
    expect(masked(before, hmac)).toEqual(before);
  });

  it('mode hmac needs a key', () => {
    expect(() => createRedactor({ keys: [], mode: 'hmac' })).toThrow(/key/);
    expect(() => createRedactor({ keys: [], mode: 'hmac', hmacKey: Buffer.alloc(0) })).toThrow(/key/);
  });
});
