import { asJsonObject } from '../../formats/json-members.js';
import type { Encoder } from '../messages.js';
import type { Finding } from '../sink.js';
import type { AuthScheme } from './credentials.js';
import type { HttpAnswer, HttpExchange } from './exchange.js';

/** What became of one event of a request. */
export type EventFate =
  | { readonly fate: 'stored' }
  /** The receiver had it already. */
  | { readonly fate: 'known' }
  /** To be sent again. */
  | { readonly fate: 'busy'; readonly reason: string }
  /** Sending it again would not help. */
  | { readonly fate: 'refused'; readonly reason: string };

/** What an answer means. */
export type AnswerVerdict =
  /** All events of the request are stored, except for `rejected` of them, which the receiver does not name. */
  | { readonly verdict: 'stored'; readonly rejected: number; readonly reason: string }
  /** The receiver answered for each event, in the order of the request. */
  | { readonly verdict: 'each'; readonly fates: readonly EventFate[] }
  /** Nothing was stored; the same request may succeed later. */
  | { readonly verdict: 'busy'; readonly reason: string }
  | { readonly verdict: 'too large'; readonly reason: string }
  /** Nothing was stored, because of at least one event of the request. */
  | { readonly verdict: 'refused'; readonly reason: string }
  /** Nothing was stored, and no event is the cause: url, credentials, or what answers there. */
  | { readonly verdict: 'misconfigured'; readonly reason: string; readonly next: string };

/** What differs between the protocols over HTTP. */
export interface HttpProtocol {
  /** A message is what one event adds to a request. */
  readonly encoder: Encoder;
  readonly contentType: string;
  readonly scheme: AuthScheme;
  readonly headers: Readonly<Record<string, string>>;
  /** The body of a request with these messages. */
  bodyOf(messages: readonly Buffer[]): Buffer;
  /** @param count how many events the request had */
  judge(answer: HttpAnswer, count: number): AnswerVerdict;
  /** A message of at most this many bytes for the same event, or of its least form; null if it is in its least form. */
  shrink(message: Buffer, bytes: number): Buffer | null;
  /** After an answer `stored`: resolves when the receiver has confirmed that the events are safe, with what that means. */
  confirm?(answer: HttpAnswer, exchange: HttpExchange, signal: AbortSignal): Promise<AnswerVerdict>;
  /** Asks the receiver whether it would take events, without storing one. */
  probe(exchange: HttpExchange, signal: AbortSignal): Promise<Finding[]>;
}

/** As long as a line of the files: what is longer is shortened. */
const LONGEST_EVENT = 256 * 2 ** 10;

/** The longest message of an encoder: it always fits into a request. */
export function longestMessage({ max_request: most }: { readonly max_request: number }): number {
  return Math.min(LONGEST_EVENT, most - 1_024);
}

/** Characters of a receiver's text in a reason. */
const REASON = 300;

/** A text of a receiver on one line, cut. */
export function receiverText(text: string): string {
  const line = text.replace(/[\s\p{C}]+/gu, ' ').trim();
  return line.length > REASON ? `${line.slice(0, REASON)}…` : line;
}

/** What an answer without success means, in all protocols. */
export function judgeStatus({ status, location, body }: HttpAnswer): AnswerVerdict {
  const said = receiverText(body.subarray(0, 4_096).toString('utf8'));
  const reason = said === '' ? `status ${status}` : `status ${status}: ${said}`;
  if (status === 408 || status === 425 || status === 429 || status >= 500) return { verdict: 'busy', reason };
  if (status === 413) return { verdict: 'too large', reason };
  if (status === 400 || status === 422) return { verdict: 'refused', reason };
  if (status === 401 || status === 403 || status === 407)
    return { verdict: 'misconfigured', reason, next: 'Check the credentials (auth) and their rights' };
  if (status >= 300 && status < 400) {
    const to = location === null ? '' : ` to ${receiverText(location)}`;
    return {
      verdict: 'misconfigured',
      reason: `status ${status}, a redirect${to}`,
      next: 'Redirects are not followed. Set url to the final address, and check the credentials',
    };
  }
  return { verdict: 'misconfigured', reason, next: 'Check url: something else answers there' };
}

/** An answer with a status of success whose body is not of the protocol, such as the page of a proxy or a login. */
export function foreignBody({ status, contentType, body }: HttpAnswer): AnswerVerdict {
  const said = receiverText(body.subarray(0, 200).toString('utf8')).slice(0, 80);
  return {
    verdict: 'misconfigured',
    reason: `status ${status}, but the answer (${contentType || 'without Content-Type'}) is not of this protocol: ${said}`,
    next: 'Check url and credentials: something else answers there',
  };
}

export function isSuccess(status: number): boolean {
  return status >= 200 && status < 300;
}

/** The members of a JSON object; null for anything else. */
export function jsonObject(body: Buffer): Readonly<Record<string, unknown>> | null {
  try {
    return asJsonObject(JSON.parse(body.toString('utf8')));
  } catch {
    return null;
  }
}

/** A finding for an answer to a probe that shows a fault; null if the answer shows none. */
export function faultFinding(name: string, verdict: AnswerVerdict): Finding | null {
  switch (verdict.verdict) {
    case 'misconfigured':
      return { level: 'error', what: `${name}: ${verdict.reason}`, next: verdict.next };
    case 'busy':
      return { level: 'warning', what: `${name}: busy (${verdict.reason})`, next: 'Try again later' };
    case 'too large':
    case 'refused':
      return { level: 'error', what: `${name}: ${verdict.reason}`, next: "Check url and the receiver's log" };
    default:
      return null;
  }
}
