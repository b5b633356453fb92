import { type HttpSinkConfig, staysOnHost } from '../../config/http.js';
import { diagnosisOf } from '../../errors.js';
import type { Finding } from '../sink.js';
import { clientFindings, shownFinding, validityFinding } from '../syslog/certificate-findings.js';
import { checksChain } from '../syslog/tls.js';
import { dialTls } from './dialer.js';
import type { HttpExchange } from './exchange.js';
import type { HttpProtocol } from './protocol.js';

/** Asks the receiver without sending an event. Closes the exchange. @param now ms since the epoch */
export async function checkReceiver(
  config: HttpSinkConfig,
  protocol: HttpProtocol,
  exchange: HttpExchange,
  now: number,
): Promise<Finding[]> {
  const signal = AbortSignal.timeout(config.timeout);
  const { url } = exchange;
  try {
    if (url.protocol === 'http:')
      return [...(await protocol.probe(exchange, signal)), ...clearTextFindings(config, exchange)];
    const certificates = await certificateFindings(config, exchange, now, signal);
    if (certificates.some(({ level }) => level === 'error')) return certificates;
    return [...(await protocol.probe(exchange, signal)), ...certificates];
  } catch (error) {
    return [failureFinding(error), ...clearTextFindings(config, exchange)];
  } finally {
    exchange.close();
  }
}

function failureFinding(error: unknown): Finding {
  const { what, next } = diagnosisOf(error);
  return { level: 'error', what, next: next ?? "Check the receiver's log" };
}

function clearTextFindings({ auth }: HttpSinkConfig, { url, name }: HttpExchange): Finding[] {
  if (url.protocol !== 'http:' || auth === undefined || staysOnHost(url)) return [];
  return [
    {
      level: 'warning',
      what: `${name}: the url is http, so the credentials and all events cross the network in clear text`,
      next: 'Use https',
    },
  ];
}

/** Until when the certificates of both sides are valid. Of a receiver whose certificate is not accepted: which one it showed. */
async function certificateFindings(
  { tls = { min_version: '1.2' } }: HttpSinkConfig,
  { dialer, name }: HttpExchange,
  now: number,
  signal: AbortSignal,
): Promise<Finding[]> {
  const { socket, certificate, refused } = await dialTls(dialer, signal);
  socket.on('error', () => undefined);
  socket.destroy();
  if (refused !== null) return [failureFinding(refused), shownFinding(name, certificate)];
  const what = `${name}: the certificate of the receiver`;
  return [validityFinding(what, certificate, now, checksChain(tls)), ...clientFindings(tls, now)];
}
