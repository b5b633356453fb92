import { type HttpSinkConfig, staysOnHost } from '../../config/http.js';
import { diagnosisOf } from '../../errors.js';
import type { Finding } from '../sink.js';
import type { HttpExchange } from './exchange.js';
import type { HttpProtocol } from './protocol.js';

/** Asks the receiver without sending an event. Closes the exchange. */
export async function checkReceiver(
  config: HttpSinkConfig,
  protocol: HttpProtocol,
  exchange: HttpExchange,
): Promise<Finding[]> {
  const signal = AbortSignal.timeout(config.timeout);
  const findings: Finding[] = [];
  const { url, name } = exchange;
  if (url.protocol === 'http:' && config.auth !== undefined && !staysOnHost(url)) {
    findings.push({
      level: 'warning',
      what: `${name}: the url is http, so the credentials and all events cross the network in clear text`,
      next: 'Use https',
    });
  }
  try {
    return [...(await protocol.probe(exchange, signal)), ...findings];
  } catch (error) {
    const { what, next } = diagnosisOf(error);
    return [{ level: 'error', what, next: next ?? "Check the receiver's log" }, ...findings];
  } finally {
    exchange.close();
  }
}
