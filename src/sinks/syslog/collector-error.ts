import { AuditdError, codeOf, messageOf } from '../../errors.js';
import { sinkFailed } from '../sink-failed.js';

/** What a connection error means, and what to do about it. */
interface Meaning {
  readonly what: string;
  readonly next: string;
}

const DNS: Meaning = {
  what: 'its name does not resolve',
  next: 'Check the name in the configuration and the DNS of this host',
};
const RESET: Meaning = {
  what: 'it reset the connection',
  next: "Check the collector's log; a plain client at a TLS port, or the reverse, looks the same",
};
const UNKNOWN_CA: Meaning = {
  what: 'its certificate is not signed by an authority this host knows',
  next: 'Set tls.ca to the certificate of the authority, or tls.fingerprint to that of the collector',
};

const MEANINGS: Readonly<Record<string, Meaning>> = {
  ECONNREFUSED: {
    what: 'it refused the connection',
    next: 'Start the collector, or correct its port in the configuration',
  },
  ETIMEDOUT: { what: 'no answer', next: 'Check host, port, route and firewalls on the way' },
  EHOSTUNREACH: { what: 'no route to it', next: 'Check the address and the routing of this host' },
  ENETUNREACH: { what: 'no route to its network', next: 'Check the address and the routing of this host' },
  ENOTFOUND: DNS,
  EAI_AGAIN: { what: 'its name cannot be resolved now', next: 'Check the DNS server of this host' },
  EAI_NODATA: DNS,
  ECONNRESET: RESET,
  EPIPE: RESET,
  ENOENT: { what: 'the socket does not exist', next: 'Start the receiver, or correct the path in targets' },
  EACCES: { what: 'permission denied', next: "Let the daemon's user write to the socket" },
  EPROTOTYPE: {
    what: 'it is a socket of the other type',
    next: 'Use transport: unix for a datagram socket, unix-stream for a stream',
  },
  EMSGSIZE: { what: 'the message is too long', next: 'Lower max_message_size' },
  CERT_HAS_EXPIRED: { what: 'its certificate has expired', next: 'Renew the certificate of the collector' },
  CERT_NOT_YET_VALID: {
    what: 'its certificate is not valid yet',
    next: 'Compare the clocks of both hosts, or wait until the certificate is valid',
  },
  CERT_REVOKED: { what: 'its certificate was revoked', next: 'Give the collector a new certificate' },
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: UNKNOWN_CA,
  UNABLE_TO_GET_ISSUER_CERT: UNKNOWN_CA,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: UNKNOWN_CA,
  SELF_SIGNED_CERT_IN_CHAIN: UNKNOWN_CA,
  DEPTH_ZERO_SELF_SIGNED_CERT: UNKNOWN_CA,
  INVALID_CA: UNKNOWN_CA,
  CERT_SIGNATURE_FAILURE: UNKNOWN_CA,
  ERR_TLS_CERT_ALTNAME_INVALID: {
    what: 'its certificate is for another name',
    next: 'Connect to the name of the certificate, or set tls.server_name to it',
  },
  ERR_SSL_WRONG_VERSION_NUMBER: {
    what: 'it does not speak TLS',
    next: 'Correct its port in the configuration, or connect without TLS',
  },
  ERR_SSL_PACKET_LENGTH_TOO_LONG: {
    what: 'it does not speak TLS',
    next: 'Correct its port in the configuration, or connect without TLS',
  },
  ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED: {
    what: 'it requires a client certificate',
    next: 'Set tls.cert and tls.key',
  },
};

const CERTIFICATE_REFUSED: Meaning = {
  what: 'it rejected our certificate',
  next: "Set tls.cert and tls.key to a client certificate that the collector's authority has signed",
};
const TLS_VERSION: Meaning = {
  what: 'no common version of TLS',
  next: 'Enable TLS 1.2 or 1.3 at the collector',
};

function meaning(error: unknown): Meaning {
  const code = codeOf(error) ?? '';
  const known = MEANINGS[code];
  if (known !== undefined) return known;
  if (/PROTOCOL_VERSION|UNSUPPORTED_PROTOCOL/.test(code)) return TLS_VERSION;
  if (
    /ALERT_(BAD_CERTIFICATE|UNKNOWN_CA|CERTIFICATE|NO_CERTIFICATE|ACCESS_DENIED)|ALERT_HANDSHAKE_FAILURE/.test(
      code,
    )
  ) {
    return CERTIFICATE_REFUSED;
  }
  return { what: messageOf(error), next: "Check the collector's log" };
}

/** Several addresses were tried: the first error says what is wrong. */
function innermost(error: unknown): unknown {
  return error instanceof AggregateError && error.errors.length > 0 ? error.errors[0] : error;
}

/** What went wrong with a target, with the next step. An `AuditdError` stays as it is. */
export function collectorError(target: string, error: unknown): AuditdError {
  if (error instanceof AuditdError) return error;
  const cause = innermost(error);
  const { what, next } = meaning(cause);
  const code = codeOf(cause);
  const word = code === null || what.includes(code) ? '' : ` (${code})`;
  return sinkFailed(`${target}: ${what}${word}`, next, error);
}
