import type { X509Certificate } from 'node:crypto';
import type { SyslogTlsConfig } from '../../config/syslog.js';
import { messageOf } from '../../errors.js';
import type { Finding } from '../sink.js';
import { clientCertificate } from './tls.js';

const DAY_MS = 86_400_000;
/** So many days before a certificate expires it is a warning. */
const EXPIRY_DAYS = 30;

/** What to compare with, and the line to configure if this is the right one. */
export function shownFinding(target: string, certificate: X509Certificate): Finding {
  const { subject, issuer, validFrom, validTo, fingerprint256 } = certificate;
  const flat = (name: string) => name.replaceAll('\n', ', ');
  return {
    level: 'warning',
    what: `${target}: it showed the certificate of ${flat(subject)}, signed by ${flat(issuer)}, valid from ${validFrom} to ${validTo}`,
    next: `If that is the collector, accept exactly this certificate: tls: { fingerprint: "SHA256:${fingerprint256}" }`,
  };
}

/**
 * Until when a certificate is valid.
 *
 * @param datesCount whether connections are refused once it has expired
 */
export function validityFinding(
  what: string,
  certificate: X509Certificate,
  now: number,
  datesCount: boolean,
): Finding {
  const expires = Date.parse(certificate.validTo);
  const days = Math.floor((expires - now) / DAY_MS);
  const date = new Date(expires).toISOString().slice(0, 10);
  if (days >= EXPIRY_DAYS) return { level: 'ok', what: `${what} is valid until ${date}` };
  if (expires < now) {
    return {
      level: datesCount ? 'error' : 'warning',
      what: `${what} expired on ${date}`,
      next: 'Renew it',
    };
  }
  return {
    level: 'warning',
    what: `${what} expires in ${days} ${days === 1 ? 'day' : 'days'}, on ${date}`,
    next: 'Renew it before then',
  };
}

/** Whether the client certificate can be read, and until when it is valid; nothing if there is none. */
export function clientFindings(tls: SyslogTlsConfig | undefined, now: number): Finding[] {
  if (tls === undefined) return [];
  try {
    const certificate = clientCertificate(tls);
    return certificate === null
      ? []
      : [validityFinding('the client certificate (tls.cert)', certificate, now, true)];
  } catch (error) {
    return [
      {
        level: 'error',
        what: `tls.cert: ${messageOf(error)}`,
        next: 'Correct the path, or let the user read the file',
      },
    ];
  }
}
