import { X509Certificate } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { isIP, type Socket } from 'node:net';
import tls from 'node:tls';
import type { SyslogTlsConfig } from '../../config/syslog.js';
import { type AuditdError, codeOf, messageOf } from '../../errors.js';
import { sinkFailed } from '../sink-failed.js';
import { collectorError } from './collector-error.js';
import { aborted, type ConnectOptions, timedOut, timeLeft } from './tcp.js';

/** Where Debian and Red Hat keep the authorities that this host trusts. Node brings a list of its own, which does not have a company's. */
const SYSTEM_AUTHORITIES = ['/etc/ssl/certs/ca-certificates.crt', '/etc/pki/tls/certs/ca-bundle.crt'];

/** What a handshake showed. */
export interface TlsSession {
  readonly socket: tls.TLSSocket;
  readonly protocol: string;
  readonly certificate: X509Certificate;
  /** Why the certificate is not accepted; null if it is. */
  readonly refused: AuditdError | null;
}

/**
 * True if the chain of the certificate is verified. With fingerprints alone (RFC 5425 section 4.2.2) the certificate itself is trusted,
 * regardless of issuer, name and dates; with `ca` or without fingerprints, chain, dates and name
 * count (section 5.2); with both, both.
 */
export function checksChain(config: SyslogTlsConfig): boolean {
  return config.fingerprint === undefined || config.ca !== undefined;
}

/** Reads the files at each connection, so that a renewed certificate needs no restart. @throws AuditdError */
function secureContext(config: SyslogTlsConfig): tls.SecureContext {
  const read = (key: string, path: string) => {
    try {
      return readFileSync(path);
    } catch (error) {
      throw sinkFailed(
        `tls.${key}: ${messageOf(error)}`,
        "Correct the path, or let the daemon's user read the file",
        error,
      );
    }
  };
  const authorities = config.ca ?? SYSTEM_AUTHORITIES.find((path) => existsSync(path));
  const options: tls.SecureContextOptions = { minVersion: `TLSv${config.min_version}` };
  if (authorities !== undefined) options.ca = read('ca', authorities);
  if (config.cert !== undefined) options.cert = read('cert', config.cert);
  if (config.key !== undefined) options.key = read('key', config.key);
  try {
    return tls.createSecureContext(options);
  } catch (error) {
    throw sinkFailed(
      `tls.ca, tls.cert or tls.key can't be used: ${messageOf(error)}`,
      'Use PEM files, and the key of the certificate, without a passphrase',
      error,
    );
  }
}

/** The client certificate, or null. @throws if the file can't be read */
export function clientCertificate(config: SyslogTlsConfig): X509Certificate | null {
  return config.cert === undefined ? null : new X509Certificate(readFileSync(config.cert));
}

/**
 * Shakes hands over a connected socket. A certificate that is not accepted is reported in `refused`, with the connection still
 * open: nothing has been sent over it, and nothing may be.
 */
export async function startTls(
  raw: Socket,
  config: SyslogTlsConfig,
  host: string,
  target: string,
  options: ConnectOptions,
): Promise<TlsSession> {
  const name = config.server_name ?? host;
  let context: tls.SecureContext;
  try {
    context = secureContext(config);
  } catch (error) {
    raw.destroy();
    throw collectorError(target, error);
  }
  const socket = tls.connect({
    socket: raw,
    secureContext: context,
    minVersion: `TLSv${config.min_version}`,
    // Judged below: `check` has to see a certificate that is refused.
    rejectUnauthorized: false,
    host: name,
    ...(isIP(name) === 0 ? { servername: name } : {}),
  });
  const certificate = await handshake(raw, socket, target, options);
  const protocol = socket.getProtocol() ?? 'TLS';
  return { socket, protocol, certificate, refused: refusal(socket, certificate, config, name, target) };
}

/** The certificate that the collector presented. Closes both sockets if there is none, or no handshake. */
function handshake(
  raw: Socket,
  socket: tls.TLSSocket,
  target: string,
  options: ConnectOptions,
): Promise<X509Certificate> {
  const { timeoutMs, signal } = options;
  return new Promise((resolve, reject) => {
    const fail = (error: AuditdError) => {
      settle();
      socket.on('error', () => undefined);
      socket.destroy();
      raw.destroy();
      reject(error);
    };
    const onError = (error: Error) => fail(collectorError(target, error));
    const onEnd = () =>
      fail(
        sinkFailed(
          `${target}: it closed the connection during the TLS handshake`,
          'Check that its port speaks TLS',
        ),
      );
    const onAbort = () => fail(aborted(target, signal));
    const timer = setTimeout(() => fail(timedOut(`${target} (TLS handshake)`, timeoutMs)), timeLeft(options));
    const settle = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      socket.removeListener('error', onError);
      socket.removeListener('end', onEnd);
    };
    signal.addEventListener('abort', onAbort, { once: true });
    socket.once('error', onError);
    socket.once('end', onEnd);
    socket.once('secureConnect', () => {
      const certificate = socket.getPeerX509Certificate();
      if (certificate === undefined) {
        const next = 'Give the collector a certificate: anonymous TLS is not supported';
        fail(sinkFailed(`${target}: it showed no certificate`, next));
        return;
      }
      settle();
      resolve(certificate);
    });
  });
}

/** The issuer of a certificate of the chain is not available. */
const NO_ISSUER: ReadonlySet<string> = new Set([
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
]);

/** Either an authority in between was not sent along, or the authority is not known here: from here both look the same. */
function noIssuer(target: string, certificate: X509Certificate, code: string): AuditdError {
  const issuer = certificate.issuer.replaceAll('\n', ', ');
  return sinkFailed(
    `${target}: its certificate is not signed by an authority this host knows, but by ${issuer} (${code})`,
    'Set tls.ca to the certificate of that authority. If it is an intermediate one, let the collector send the full chain, or add it to the file of tls.ca. Or set tls.fingerprint to that of the collector',
  );
}

/** `DNS:siem.example.net`, `IP Address:192.0.2.7`; Node puts names into quotes that could be taken for several. */
function namesOf(certificate: X509Certificate): string[] {
  return (certificate.subjectAltName ?? '').split(', ').map((name) => name.replace(/^DNS:"(.*)"$/, 'DNS:$1'));
}

function refusal(
  socket: tls.TLSSocket,
  certificate: X509Certificate,
  config: SyslogTlsConfig,
  name: string,
  target: string,
): AuditdError | null {
  const shown = certificate.fingerprint256;
  if (
    config.fingerprint !== undefined &&
    !config.fingerprint.includes(shown.replaceAll(':', '').toLowerCase())
  ) {
    return sinkFailed(
      `${target}: its certificate has the fingerprint SHA256:${shown}, which tls.fingerprint does not list`,
      "If that is the collector's new certificate, add it",
    );
  }
  if (!checksChain(config)) return null;
  // Node puts the code of the first error here as text, also if the name is wrong; the name is checked below, so that the message can show it.
  const code = codeOf(socket.authorizationError) ?? socket.authorizationError;
  if (code != null && code !== 'ERR_TLS_CERT_ALTNAME_INVALID') {
    if (NO_ISSUER.has(String(code))) return noIssuer(target, certificate, String(code));
    return collectorError(target, Object.assign(new Error(`certificate refused: ${code}`), { code }));
  }
  const mismatch = tls.checkServerIdentity(name, certificate.toLegacyObject());
  if (mismatch === undefined) return null;
  if (isIP(name) !== 0 && namesOf(certificate).includes(`DNS:${name}`)) {
    return sinkFailed(
      `${target}: its certificate has the address ${name} as a DNS name, where no client looks for an address`,
      `Reissue it with subjectAltName=IP:${name}, put a host name of it into targets, or list it in tls.fingerprint`,
      mismatch,
    );
  }
  const names = certificate.subjectAltName ?? certificate.subject.replaceAll('\n', ', ');
  return sinkFailed(
    `${target}: its certificate is for another name (${names}), not for ${name}`,
    'Put a name of the certificate into targets, or set tls.server_name to it',
    mismatch,
  );
}
