import type { SyslogSinkConfig, SyslogTarget } from '../../config/syslog.js';
import type { CollectorSession, TlsState } from './collector-session.js';
import { MonitoredSocket } from './monitored-socket.js';
import { RelpSession } from './relp-session.js';
import { RelpWindow } from './relp-window.js';
import { StreamSession } from './stream-session.js';
import { type ConnectOptions, connectSocket, endsOf } from './tcp.js';
import { startTls } from './tls.js';

/** What of the configuration a connection depends on. */
export type TransportConfig = Pick<SyslogSinkConfig, 'transport' | 'framing' | 'tls' | 'window'>;

/**
 * Connects to one target, with a TLS handshake and a RELP session if configured.
 * @throws AuditdError with what the collector did and the next step
 */
export async function openSession(
  config: TransportConfig,
  to: SyslogTarget,
  options: ConnectOptions,
): Promise<CollectorSession> {
  const raw = await connectSocket(to, to.text, options);
  let socket: ConstructorParameters<typeof MonitoredSocket>[0] = raw;
  let tls: TlsState | null = null;
  if (usesTls(config)) {
    const host = to.kind === 'host' ? to.host : '';
    const shaken = await startTls(raw, config.tls ?? { min_version: '1.2' }, host, to.text, options);
    if (shaken.refused !== null) {
      shaken.socket.destroy();
      throw shaken.refused;
    }
    socket = shaken.socket;
    tls = { protocol: shaken.protocol, expires: Date.parse(shaken.certificate.validTo) };
  }
  const ends = endsOf(raw);
  if (config.transport !== 'relp') {
    const link = new MonitoredSocket(socket, { target: to.text, ends });
    return new StreamSession(to.text, link, tls, config.framing);
  }
  let session: RelpSession | null = null;
  const link = new MonitoredSocket(socket, {
    target: to.text,
    ends,
    onData: (data) => session?.receive(data),
  });
  session = new RelpSession(to.text, link, tls, new RelpWindow(config.window));
  await session.open(options);
  return session;
}

export function usesTls(config: Pick<TransportConfig, 'transport' | 'tls'>): boolean {
  return config.transport === 'tls' || (config.transport === 'relp' && config.tls !== undefined);
}
