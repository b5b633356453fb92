import { z } from 'zod';
import { certificatePair, loginPair } from './belong-together.js';
import { absolutePath, durationBetween } from './duration-and-size.js';

const SERVER = 'nats://host:port or tls://host:port, without a password';
const STREAM = 'a name of 1 to 64 letters, digits, - and _';

const server = z
  .string()
  .refine((text) => parseNatsServer(text) !== null, `write ${SERVER}`) // The text is not repeated: it may contain a password.
  .describe('nats://host:port; tls:// where the server must speak TLS.');

const tls = z.strictObject({
  ca: absolutePath
    .optional()
    .describe('PEM file of the trusted certificate authorities; left out: those of the host.'),
  cert: absolutePath.optional().describe('Client certificate, a PEM file; together with key.'),
  key: absolutePath.optional().describe('Private key of the client certificate, a PEM file.'),
});

/** How to reach NATS; the key `servers` beside it has the addresses. Secrets are in separate files, never here. */
export const natsFields = {
  stream: z
    .string()
    .regex(/^[A-Za-z0-9_-]{1,64}$/, STREAM)
    .default('POSTERN_AUDIT')
    .describe('Name of the stream; postern-auditd fleet init creates it.'),
  credentials: absolutePath.optional().describe('File of credentials (JWT and seed, as nsc writes it).'),
  nkey: absolutePath.optional().describe('File with the seed of an nkey.'),
  token: absolutePath.optional().describe('File with a token.'),
  user: z.string().min(1).optional().describe('User name; together with password.'),
  password: absolutePath.optional().describe('File with the password of user.'),
  tls: tls.optional().describe('Certificates; with this key, a server without TLS is refused.'),
  connect_timeout: durationBetween('100ms', '30s')
    .prefault('5s')
    .describe('Timeout of a connection attempt.'),
};

export const natsServers = z.array(server).min(1).max(16);

/** The values of `natsFields` and `servers`. */
export interface NatsConfig {
  readonly servers: readonly string[];
  readonly stream: string;
  readonly credentials?: string | undefined;
  readonly nkey?: string | undefined;
  readonly token?: string | undefined;
  readonly user?: string | undefined;
  readonly password?: string | undefined;
  readonly tls?: { ca?: string | undefined; cert?: string | undefined; key?: string | undefined } | undefined;
  readonly connect_timeout: number;
}

/** Host and port of a server; null if the text is not a server, or contains a secret. */
export function parseNatsServer(text: string): { host: string; tls: boolean } | null {
  const match = /^(nats|tls):\/\/((?:\[[0-9a-fA-F:]+\]|[^\s:/@[\]]+)(?::\d{1,5})?)$/.exec(text);
  return match === null ? null : { host: match[2] ?? '', tls: match[1] === 'tls' };
}

type Secrets = Pick<NatsConfig, 'credentials' | 'nkey' | 'token' | 'user' | 'password' | 'tls'>;

/** Conflicting keys, as `[key, what to do]`. */
export function natsContradictions(nats: Secrets): Array<[keyof Secrets, string]> {
  const ways = (['credentials', 'nkey', 'token', 'user'] as const).filter((key) => nats[key] !== undefined);
  const [first, second] = ways;
  const found: Array<[keyof Secrets, string]> = [];
  if (first !== undefined && second !== undefined)
    found.push([second, `${first} is set too; only one way to log in is allowed`]);
  return [...found, ...loginPair(nats), ...certificatePair(nats.tls)];
}
