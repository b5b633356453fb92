import { createHmac } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { createRedactor } from '../../src/audit/redaction.js';

const hmacKey = Buffer.from('a key that nobody knows');
const hmacOf = (text: string) =>
  `hmac:${createHmac('sha256', hmacKey).update(text).digest('hex').slice(0, 16)}`;
const modes = [
  ['mask', createRedactor({ keys: [], mode: 'mask' }), () => '***'],
  ['hmac', createRedactor({ keys: [], mode: 'hmac', hmacKey }), hmacOf],
] as const;

const S = 'hunter2-Xy';
const KEY = 'MIIEvQIBADANBgkqhkiG9w0BAQEFAASC';

/** Texts with a secret. The masked part is between ‹ and ›. */
const texts: ReadonlyArray<readonly [string, string]> = [
  // nginx
  ['proxy_set_header', `proxy_set_header X-Api-Key ‹${S}›;`],
  ['a quoted header', `proxy_set_header X-Auth-Token "‹${S}›";`],
  [
    'Authorization of two words',
    `proxy_set_header Authorization "‹Bearer ${S}›";\nproxy_set_header Host $host;`,
  ],
  ['Authorization without quotes', `proxy_set_header Authorization ‹${S}›;`],
  ['Cookie', `proxy_set_header Cookie "‹sid=${S}›";`],
  ['a cookie that is set', `add_header Set-Cookie "‹sid=${S}; Path=/›" always;`],
  ['set', `set $api_key '‹${S}›';`],
  ['set without quotes', `set $api_key ‹${S}›;set $b c;`],
  ['if', `if ($http_x_api_key != "‹${S}›") { return 403; }`],
  ['if with an argument', `if ($arg_token = ‹${S}›) { return 200; }`],
  ['if with a pattern', `if ($http_authorization !~* "‹^Bearer ${S}$›") { return 401; }`],
  ['map', `map $http_x_api_key $known {\n  default 0;\n  "‹${S}›" 1;\n  ‹${S}2› 1;\n}`],
  ['fastcgi_param', `fastcgi_param DB_PASSWORD ‹${S}›;`],
  ['a directive', `  mgmt_token ‹${S}›;`],
  [
    'a whole location',
    `location /api {\n  proxy_pass http://10.0.0.5:8080/;\n  proxy_set_header Host $host;\n  proxy_set_header X-Api-Key ‹${S}›;\n  auth_request /auth;\n}\n`,
  ],
  // Other configuration files
  ['Apache', `RequestHeader set X-Api-Key "‹${S}›"`],
  ['Caddy', `header_up Authorization "‹Basic ${S}›"`],
  ['HAProxy', `http-request set-header X-Auth-Token ‹${S}›`],
  ['Dockerfile', `ENV DB_PASSWORD ‹${S}›`],
  ['YAML', `password: ‹${S}›\nuser: jan`],
  ['a block of YAML', `private_key: |\n  ‹${KEY}\n  ${KEY}›\nuser: jan`],
  ['a map of YAML', `credentials:\n  ‹user: jan\n  word: ${S}›\nhost: a`],
  ['a pair of YAML', `- name: smtp_password\n  value: ‹${S}›\n- name: HOST\n  value: a`],
  ['an ini file', `[smtp]\npassword = ‹${S}›\nport = 25`],
  ['PHP', `'password' => '‹${S}›', 'user' => 'jan'`],
  ['Ruby', `:password => "‹${S}›"`],
  ['SQL', `ALTER USER jan PASSWORD '‹${S}›'`],
  ['Go', `apiKey := "‹${S}›"`],
  ['Lua', `if ngx.var.http_x_api_key == "‹${S}›" then`],
  ['XML', `<user>jan</user><password>‹${S}›</password>`],
  ['XML with attributes', `<password type="text">‹${S}›</password>`],
  ['CDATA', `<password><![CDATA[‹${S}<›]]></password>`],
  ['a property list', `<key>password</key>\n<string>‹${S}›</string>`],
  ['attributes', `<add key="ApiKey" value="‹${S}›" />`],
  ['a form', `<input name="password" type="text" value="‹${S}›">`],
  ['a form of Rails', `user[password]=‹${S}›&user[name]=jan`],
  // Commands
  ['an option', `tool --password ‹${S}› --user jan`],
  ['an option with =', `tool --password=‹${S}› --verbose`],
  ['an option in quotes', `tool --password "‹a ${S}›" --verbose`],
  ['a list in text', `run ["--password", "‹${S}›"]`],
  ['curl -u', `curl -u admin:‹${S}› https://example.net/`],
  ['curl --user', `curl --user "admin:‹${S}›" https://example.net/`],
  ['curl -u glued', `curl -sS -uadmin:‹${S}› https://example.net/`],
  ['curl -H', `curl -H "X-Api-Key: ‹${S}›" https://example.net/`],
  ['curl -H Authorization', `curl -H "Authorization: ‹Bearer ${S}›" https://example.net/`],
  ['curl -b', `curl -H 'Cookie: ‹a=b; sid=${S}›' https://example.net/`],
  ['mysql', `mysql -u root -p‹${S}› base`],
  ['sshpass', `sshpass -p ‹${S}› ssh jan@example.net`],
  ['openssl', `openssl rsa -passin pass:‹${S}› -in key.pem`],
  ['environment', `PGPASSWORD=‹${S}› psql -h db`],
  // Keys
  ['PGP', `‹-----BEGIN PGP PRIVATE KEY BLOCK-----\n\n${KEY}\n=abcd\n-----END PGP PRIVATE KEY BLOCK-----›\nx`],
  ['OpenSSH', `‹-----BEGIN OPENSSH PRIVATE KEY-----\n${KEY}\n-----END OPENSSH PRIVATE KEY-----›`],
  ['SSH2', `‹---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\n${KEY}\n---- END SSH2 ENCRYPTED PRIVATE KEY ----›`],
  [
    'behind a certificate',
    `-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n‹-----BEGIN PRIVATE KEY-----\n${KEY}\n-----END PRIVATE KEY-----›`,
  ],
  [
    'PuTTY',
    `PuTTY-User-Key-File-3: ssh-ed25519\nPublic-Lines: 1\nAAAA\n‹Private-Lines: 1\n${KEY}\nPrivate-MAC: 0123456789abcdef›\n`,
  ],
  ['PuTTY, cut off', `PuTTY-User-Key-File-2: ssh-rsa\n‹Private-Lines: 14\n${KEY}›`],
  ['a JSON Web Key that was cut off', `{"kty":"RSA","n":"abc","d":"‹${S}›","p":"‹${S}›","x":`],
  // Addresses
  ['an @ in a password', `https://user:‹p@ss${S}›@example.net/`],
  ['a / in a password', `https://user:‹pa/ss${S}›@example.net/`],
  ['a token as the user', `https://‹${S}›@example.net/`],
  ['a token with an empty password', `https://‹${S}›:@example.net/`],
  ['a token of GitHub', `https://‹${S}›:x-oauth-basic@github.com/a/b.git`],
  ['Redis', `redis://:‹${S}›@10.0.0.5:6379/0`],
  ['two hosts', `mongodb://jan:‹${S}›@a:27017,b:27017/base`],
  ['Go', `jan:‹${S}›@tcp(10.0.0.5:3306)/base`],
  ['Go over a socket', `dsn=jan:‹${S}@x›@unix(/run/mysql.sock)/base`],
  ['AMQP', `amqp://guest:‹${S}›@mq`],
  // Headers, cookies, hashes
  ['a session of PHP', `PHPSESSID=‹${S}›; theme=dark`],
  ['a session of Java', `JSESSIONID=‹${S}›`],
  ['Digest', `Digest ‹username="jan", response="${S}"›\nnext`],
  ['htpasswd', `jan:‹$apr1$abcdefgh$0123456789abcdefghijkl›`],
  ['LDAP', `jan:‹{SSHA}DkMTwBl+a/3DQTxCYEApdUtNXGgdUac3›`],
  ['Django', `‹pbkdf2_sha256$260000$abc$0123456789abcdef=›`],
  ['a JSON Web Token behind a dash', `x-‹eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abcdefghij›`],
  ['an encrypted token', `‹eyJhbGciOiJkaXIifQ..abcdefghij.klmnop.qrstuv›`],
  // Names
  ['a name of two words', `API key: ‹${S}›`],
  ['a name with an id', `Session ID: ‹${S}›`],
  ['passwords with signs', `password=‹ab,cd"ef{gh\\ij&kl›`],
  ['a list of pairs', `password=‹${S}›,user=jan;token=‹${S}›`],
  ['both values', `password: '‹${S}›' -> '‹${S}2›'`],
  ['escaped newlines', `{"config":"a;\\napi_key=‹${S}›\\" x`],
  ['a setter behind an escaped newline', `{"config":"a;\\nproxy_set_header X-Api-Key ‹${S}›;\\nb;`],
  ['pairs of JSON that was cut off', `{"name":"smtp password","value":"‹${S}›","x":[`],
  ['typographic quotes', `“password”: ‹${S}›`],
];

/** JSON with secrets. The masked part is between ‹ and ›, or a value that is not a text. */
const values: ReadonlyArray<readonly [string, unknown, unknown?]> = [
  ['a command', ['tool', '--password', `‹${S}›`, '--user', 'jan']],
  ['two items', { args: ['--password', `‹${S}›`] }],
  ['curl', ['curl', '-u', `admin:‹${S}›`, 'https://example.net/']],
  ['mysql', { cmd: ['/usr/bin/mysql', '-u', 'root', `-p‹${S}›`] }],
  ['sshpass', ['sshpass', '-p', `‹${S}›`, 'ssh', 'jan@example.net']],
  ['a pair', { headers: [['X-Api-Key', `‹${S}›`]] }],
  ['one pair', ['X-Api-Key', `‹${S}›`]],
  ['headers of Node.js', { rawHeaders: ['Host', 'a', 'X-Api-Key', `‹${S}›`, 'Accept', '*/*'] }],
  ['environment', { env: [`DB_PASSWORD=‹${S}›`, 'HOST=a'] }],
  ['a list as a header', { 'X-Api-Key': [S] }, 'X-Api-Key'],
  ['setting_key', { setting_key: 'smtp_password', setting_value: `‹${S}›` }],
  ['settingKey', { settingKey: 'smtpPassword', settingValue: `‹${S}›` }],
  ['column', { column: 'password', old: `‹${S}›`, new: `‹${S}2›`, by: 'jan' }],
  ['attribute', { attribute: 'api_token', value: `‹${S}›` }],
  ['id', { id: 'smtp-password', value: `‹${S}›` }],
  ['a name with a blank', { name: 'smtp password', value: `‹${S}›` }],
  ['columns', { columns: ['name', 'password'], old: ['jan', S] }, 'old'],
  ['a path of JSON Patch', { op: 'replace', path: '/password', value: `‹${S}›` }],
  ['pin_code', { pin_code: 4711 }, 'pin_code'],
  ['pw', { pw: `‹${S}›`, smtp_pw: `‹${S}›` }],
  ['sessionid', { sessionid: `‹${S}›`, PHPSESSID: `‹${S}›` }],
  ['privkey', { privkey: `‹${S}›`, 'privkey.pem': `‹${S}›` }],
  ['a number under a plural', { passwords: 12345678 }, 'passwords'],
  ['a JSON Web Key', { kty: 'RSA', n: 'abc', e: 'AQAB', d: `‹${S}›`, p: `‹${S}›` }],
  ['a symmetric JSON Web Key', { keys: [{ kty: 'oct', kid: 'a', k: `‹${S}›` }] }],
  ['a key with a password in it', { upstreams: { [`https://jan:‹${S}›@example.net/`]: 'up' } }],
];

/** Texts of a proxy manager without a secret. */
const plain: readonly unknown[] = [
  { token_expires: '2026-12-01', password_changed: true, pin_count: 3, token_count: 12, tokens: 5 },
  { keyboard: 'de', monkey: 'x', author: 'jan', code: 404, status_code: 200, country_code: 'DE' },
  { email: 'jan@example.net', remote: 'jan@example.net:repo.git', git: 'ssh://git@example.net/a.git' },
  { uuid: '0b9a52f4-66f1-4e0c-8f1e-93f6b7c7a3d1', etag: '"5d8c72a5edda8"', sha256: 'a'.repeat(64) },
  { changed_fields: ['password', 'email'], scopes: ['token', 'session'], events: ['password', 'reset'] },
  { name: 'Password reset mail', value: 'on' },
  { key: 'default_site', value: '404' },
  { k: 'a', d: 'b', p: 'c' },
  ['read', 'token', 'write', 'admin'],
  'proxy_pass http://host:8080/;',
  'proxy_pass http://session:8080/;',
  'auth_request /auth;',
  'auth_request_set $token $upstream_http_x_token;',
  'ssl_certificate_key /etc/ssl/private/a.key;',
  'ssl_session_ticket_key /etc/nginx/ticket.key;',
  'ssl_password_file /etc/nginx/pass;',
  'ssl_session_timeout 1d;\nssl_session_tickets off;\nssl_session_cache shared:SSL:10m;',
  'proxy_set_header Authorization $http_authorization;\nproxy_set_header Cookie "";\nproxy_hide_header Set-Cookie;',
  'proxy_set_header X-Real-IP $remote_addr;\nproxy_set_header Connection "upgrade";',
  'proxy_cookie_path / "/; secure";\nproxy_cookie_flags ~ secure samesite=strict;',
  'proxy_cache_key "$scheme$host$request_uri";\nauth_basic "Restricted";\nauth_basic_user_file /data/access/1;',
  'rewrite ^/(.*)$ /x/$1$is_args$args permanent;\nrewrite ^(.)(.)$ /$2$is_args$args_and_more_of_them last;',
  'limit_req_zone $http_authorization zone=one:10m rate=1r/s;',
  'location = /token { return 404; }',
  'Authorization is required',
  'Basic authentication failed; token revoked; session expired',
  'bearer authentication, digest mismatch, basic-auth realm',
  'invalid password for jan from 203.0.113.7',
  'Password reset mail sent to jan@example.net',
  'user jan set password policy to strong',
  'token "deploy" was revoked',
  'tool --no-password --user jan',
  'docker run -u 1000:1000 -p 8080:80 image',
  'ssh -p 22 jan@example.net',
  'https://example.net:8443/a@b?page=1',
  'http://[2001:db8::1]:8080/x@y',
  'npm i @scope/pack@1.2.3',
  'mailto:jan@example.net',
  'Mozilla/5.0 (X11; Linux x86_64; en-us) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36',
  'costs $5$ and $6$, see $HOME/x',
  '-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----',
  '<passwordPolicy>strong</passwordPolicy>',
  'token_id=5 password=true pin_count=4',
];

const SECRET = /‹([^›]*)›/g;

/** Changes every text in a value, also its keys. */
function each(value: unknown, change: (text: string) => string): unknown {
  if (typeof value === 'string') return change(value);
  if (Array.isArray(value)) return value.map((item) => each(item, change));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [change(key), each(item, change)]));
}

describe.each(modes)('secrets in the forms that a proxy manager has, by %s', (_, redact, cover) => {
  const written = (text: string) => text.replace(SECRET, '$1');
  const expected = (text: string) => text.replace(SECRET, (__, secret: string) => cover(secret));
  const masked = (value: unknown) => JSON.parse(redact(JSON.stringify(value)) ?? '') as unknown;

  it.each(texts)('masks %s: %s', (__, text) => {
    const [before, after] = [written(text), expected(text)];
    expect(before).not.toBe(text);
    expect(masked({ advanced_config: before })).toEqual({ advanced_config: after });
    expect(masked({ a: [{ b: [before] }] })).toEqual({ a: [{ b: [after] }] });
    // As the whole column, in JSON in a string, and in JSON in that JSON.
    if (!before.startsWith('[')) expect(JSON.parse(redact(before) ?? '')).toEqual({ text: after });
    const inner = JSON.stringify({ x: before });
    expect(masked({ body: inner })).toEqual({ body: JSON.stringify({ x: after }) });
    expect(masked({ body: JSON.stringify({ inner }) })).toEqual({
      body: JSON.stringify({ inner: JSON.stringify({ x: after }) }),
    });
    // A masked text stays unchanged.
    expect(masked({ a: after })).toEqual({ a: after });
  });

  it.each(values)('masks %s: %j', (__, value, whole) => {
    const before = each(value, written);
    const after = each(value, expected) as Record<string, unknown>;
    if (typeof whole === 'string') after[whole] = cover(JSON.stringify(after[whole]));
    expect(after).not.toEqual(before);
    expect(masked({ a: before })).toEqual({ a: after });
    expect(masked([{ a: [before] }])).toEqual({ value: [{ a: [after] }] });
    expect(masked({ body: JSON.stringify(before) })).toEqual({ body: JSON.stringify(after) });
    expect(masked({ a: after })).toEqual({ a: after });
  });

  it.each(plain)('finds no secret in %j', (value) => {
    expect(masked({ a: value })).toEqual({ a: value });
    const text = JSON.stringify({ body: JSON.stringify({ value }) });
    expect(redact(text)).toBe(text);
    if (typeof value === 'string' && !value.startsWith('<')) {
      expect(JSON.parse(redact(value) ?? '')).toEqual({ text: value });
    }
  });
});
