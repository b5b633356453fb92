import { readFileSync } from 'node:fs';
import {
  type Authenticator,
  type ConnectionOptions,
  connect,
  credsAuthenticator,
  type NatsConnection,
  nkeyAuthenticator,
} from '@nats-io/transport-node';
import { type NatsConfig, parseNatsServer } from '../../config/nats.js';
import { AuditdError, messageOf } from '../../errors.js';
import { unlessAborted } from '../abortable.js';
import { natsAborted, natsError } from './nats-error.js';

/** A silent connection is closed after two of these: a cut network is noticed within 15 s. */
const PING_MS = 5_000;
const NEVER = new AbortController().signal;

/**
 * Connects to the first server that answers. Files of secrets are read each time, so that they can be replaced. The connection never
 * reconnects by itself: its user knows what was in flight when it ended, and opens another.
 *
 * @param signal ends the waiting at once; a connection that is made later is closed
 * @throws AuditdError `SINK_FAILED`, with what to do next
 */
export async function connectNats(
  config: NatsConfig,
  name: string,
  signal: AbortSignal = NEVER,
): Promise<NatsConnection> {
  const servers = config.servers.map((text) => parseNatsServer(text)).filter((server) => server !== null);
  const wantsTls = config.tls !== undefined || servers.some(({ tls }) => tls);
  const { ca, cert, key } = config.tls ?? {};
  const options: ConnectionOptions = {
    servers: servers.map(({ host }) => host),
    name,
    noRandomize: true,
    reconnect: false,
    ignoreClusterUpdates: true,
    timeout: config.connect_timeout,
    pingInterval: PING_MS,
    maxPingOut: 2,
    ...loginOf(config),
    ...(wantsTls
      ? {
          tls: {
            ...(ca === undefined ? {} : { ca: secretOf('tls.ca', ca) }),
            ...(cert === undefined ? {} : { cert: secretOf('tls.cert', cert) }),
            ...(key === undefined ? {} : { key: secretOf('tls.key', key) }),
          },
        }
      : {}),
  };
  const where = config.servers.join(', ');
  try {
    if (signal.aborted) throw natsAborted(where);
    return await unlessAborted(
      connect(options),
      signal,
      () => natsAborted(where),
      (late) => void late.close().catch(() => undefined),
    );
  } catch (error) {
    throw natsError(where, error);
  }
}

function loginOf(config: NatsConfig): Partial<ConnectionOptions> {
  const { credentials, nkey, token, user, password } = config;
  const authenticator = (made: Authenticator): Partial<ConnectionOptions> => ({ authenticator: made });
  if (credentials !== undefined)
    return authenticator(credsAuthenticator(Buffer.from(secretOf('credentials', credentials))));
  if (nkey !== undefined) return authenticator(nkeyAuthenticator(Buffer.from(secretOf('nkey', nkey).trim())));
  if (token !== undefined) return { token: secretOf('token', token).trim() };
  if (user === undefined || password === undefined) return {};
  return { user, pass: secretOf('password', password).trim() };
}

function secretOf(key: string, path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new AuditdError('SINK_FAILED', `${key}: the file can't be read: ${messageOf(error)}`, {
      next: "Let the daemon's user read it",
      cause: error,
    });
  }
}
