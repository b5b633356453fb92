import { z } from 'zod';
import { isLoopback } from './api.js';
import { certificatePair, loginPair } from './belong-together.js';
import { absolutePath, durationBetween, only, sizeSchema } from './duration-and-size.js';
import { everySink, required, startAt } from './event-filter-schema.js';
import { tlsClient } from './syslog.js';

const PROTOCOLS = ['otlp', 'elasticsearch', 'splunk-hec'] as const;

/** RFC 9110 section 5.6.2. */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
/** Printable ASCII without a space at either end. */
const HEADER_VALUE = /^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$/;
/** The sink sets them itself. */
const OWN_HEADERS =
  /^(host|connection|keep-alive|content-(length|type|encoding)|transfer-encoding|te|trailer|upgrade|expect|accept-encoding|user-agent)$/i;
/** Names of headers with a secret, which does not belong into the configuration. */
const SECRET_HEADERS = /(authorization|cookie|token|secret|password|api-?key|-key)$/i;

/** How to log in to a receiver. */
export const httpAuth = z.strictObject({
  token: absolutePath
    .optional()
    .describe(
      'File with a token: Bearer for otlp, ApiKey (its encoded form) for elasticsearch, Splunk for splunk-hec.',
    ),
  user: z
    .string()
    .regex(/^[^:\u0000-\u001f\u007f]+$/, 'a name without colon and control characters')
    .optional()
    .describe('User name for Basic authentication; together with password.'),
  password: absolutePath.optional().describe('File with the password of user.'),
  header: z
    .strictObject({
      name: z.string().regex(TOKEN, 'the name of an HTTP header').describe('Name of the header.'),
      file: absolutePath.describe('File with its value.'),
    })
    .optional()
    .describe('Another header with a secret, such as DD-API-KEY.'),
});

export const URL_TEXT = 'http:// or https:// with a host, and without user, password or #';
const PROXY_TEXT = 'http://host:port';

/** Headers without secrets. */
export const httpHeaders = z
  .record(
    z.string().regex(TOKEN, 'the name of an HTTP header'),
    z.string().regex(HEADER_VALUE, 'printable ASCII'),
  )
  .default({})
  .describe('Further headers of each request, such as a tenant. Not for secrets: auth.header has a file.');

export const httpProxy = z
  .string()
  .refine((text) => parseHttpProxy(text) !== null, `write ${PROXY_TEXT}`)
  .optional()
  .describe('HTTP proxy on the way: http://host:port. Variables of the environment are not used.');

const fields = z
  .strictObject({
    type: z.literal('http'),
    ...everySink,
    required: required(true),
    start: startAt('now'),
    protocol: z
      .enum(PROTOCOLS)
      .describe(
        'otlp: OpenTelemetry logs; elasticsearch: the bulk API of Elasticsearch and OpenSearch; splunk-hec: the HTTP Event Collector.',
      ),
    url: z
      .string()
      .refine((text) => parseHttpUrl(text) !== null, `write ${URL_TEXT}`) // Not repeated: it may contain a password.
      .describe('Where requests go, as a whole: nothing is appended to it.'),
    encoding: z
      .enum(['protobuf', 'json'])
      .optional()
      .describe('otlp: encoding of a request; not every receiver accepts json. Left out: protobuf.'),
    index: z
      .string()
      .min(1)
      .max(255)
      .regex(/^[^\u0000-\u0020"\\/*?<>|,#]+$/, 'the name of an index, an alias or a data stream')
      .optional()
      .describe(
        'elasticsearch: index, alias or data stream; left out: the one in the url. splunk-hec: index; left out: the default of the token.',
      ),
    ack: z
      .boolean()
      .optional()
      .describe(
        'splunk-hec: wait until the indexer has stored the events (Splunk Enterprise; the token must have acknowledgement enabled). Left out: false.',
      ),
    compression: z.enum(['gzip', 'none']).default('gzip').describe('Compression of requests.'),
    max_request: sizeSchema
      .refine((bytes) => bytes >= 16_384 && bytes <= 100 * 2 ** 20, only('a size from 16K to 100M'))
      .prefault('1M')
      .describe(
        'Largest request, before compression. A longer event is shortened and says so. If the receiver refuses a size, smaller requests follow.',
      ),
    max_events: z
      .int()
      .min(1)
      .max(10_000)
      .default(2_000)
      .describe('Most events of a request. So many can arrive twice when an answer is lost.'),
    timeout: durationBetween('1s', '50s').prefault('20s').describe('Timeout of a request.'),
    headers: httpHeaders,
    auth: httpAuth
      .optional()
      .describe('How to log in. Secrets are in separate files, which are read for each request.'),
    tls: tlsClient.optional().describe('For an https url.'),
    proxy: httpProxy,
    on_refused: z
      .enum(['skip', 'hold'])
      .default('skip')
      .describe(
        'An event that the receiver refuses for good: skip passes it once a later one was taken, and records daemon.event_refused; hold waits.',
      ),
  })
  .describe('A receiver over HTTP, which acknowledges each request (docs/guide/HTTP.md).');

type Fields = z.infer<typeof fields>;

/** The parsed URL; null for any other text. */
export function parseHttpUrl(text: string): URL | null {
  if (!/^https?:\/\/[^\s\\]+$/.test(text) || !URL.canParse(text)) return null;
  const url = new URL(text);
  const isPlain = url.username === '' && url.password === '' && url.hash === '' && url.hostname !== '';
  return isPlain ? url : null;
}

/** Whether requests stay on this host. */
export function staysOnHost(url: URL): boolean {
  return isLoopback(url.hostname.replace(/^\[(.*)\]$/, '$1'));
}

/** The parsed URL of a proxy; null for any other text. */
export function parseHttpProxy(text: string): URL | null {
  const url = parseHttpUrl(text);
  return url?.protocol === 'http:' && url.pathname === '/' && url.search === '' ? url : null;
}

/** Conflicting keys, as `[path, what to do]`. */
function contradictions(sink: Fields): Array<[string[], string]> {
  const found: Array<[string[], string]> = [];
  const only = (key: 'encoding' | 'index' | 'ack', ...protocols: Array<Fields['protocol']>) => {
    if (sink[key] !== undefined && !protocols.includes(sink.protocol))
      found.push([[key], `protocol ${sink.protocol} does not have it; leave the key out`]);
  };
  only('encoding', 'otlp');
  only('index', 'elasticsearch', 'splunk-hec');
  only('ack', 'splunk-hec');
  const url = parseHttpUrl(sink.url);
  if (sink.protocol === 'elasticsearch' && url !== null) {
    if (!url.pathname.endsWith('/_bulk'))
      found.push([['url'], 'the path must end with /_bulk: https://host:9200/_bulk']);
    else if (sink.index === undefined && url.pathname === '/_bulk')
      found.push([['index'], 'missing; name the index here, or in the url: https://host:9200/INDEX/_bulk']);
  }
  if (
    sink.protocol === 'splunk-hec' &&
    url !== null &&
    !/\/services\/collector(\/event(\/1\.0)?)?$/.test(url.pathname)
  )
    found.push([
      ['url'],
      'the path must end with /services/collector/event: https://host:8088/services/collector/event',
    ]);
  return [...found, ...connectionContradictions(sink, url)];
}

/** Conflicts within `tls`, `auth` and `headers`, as `[path, what to do]`. @param url null: not known here */
export function connectionContradictions(
  sink: Pick<Fields, 'tls' | 'auth' | 'headers'>,
  url: URL | null,
): Array<[string[], string]> {
  const found: Array<[string[], string]> = [];
  if (sink.tls !== undefined && url?.protocol === 'http:')
    found.push([['tls'], 'the url has no TLS; write https://, or leave the key out']);
  for (const [key, message] of certificatePair(sink.tls)) found.push([[key], message]);
  return [...found, ...authContradictions(sink), ...headerContradictions(sink)];
}

function authContradictions({ auth: given }: Pick<Fields, 'auth'>): Array<[string[], string]> {
  if (given === undefined) return [];
  const found: Array<[string[], string]> = [];
  for (const [key, message] of loginPair(given)) found.push([['auth', key], message]);
  if (given.token !== undefined && given.user !== undefined)
    found.push([['auth', 'user'], 'token is set too; only one way to log in is allowed']);
  if (given.header !== undefined && OWN_HEADERS.test(given.header.name))
    found.push([['auth', 'header', 'name'], 'the sink sets this header itself; use another one']);
  return found;
}

function headerContradictions({ headers }: Pick<Fields, 'headers'>): Array<[string[], string]> {
  return Object.keys(headers).flatMap((name): Array<[string[], string]> => {
    if (OWN_HEADERS.test(name))
      return [[['headers', name], 'the sink sets this header itself; leave it out']];
    if (SECRET_HEADERS.test(name))
      return [
        [
          ['headers', name],
          'a secret does not belong into the configuration; put it into a file and name it in auth',
        ],
      ];
    return [];
  });
}

/** A receiver over HTTP. */
export const httpSink = fields.superRefine((sink, context) => {
  for (const [path, message] of contradictions(sink)) context.addIssue({ code: 'custom', path, message });
});

export type HttpSinkConfig = z.infer<typeof httpSink>;
