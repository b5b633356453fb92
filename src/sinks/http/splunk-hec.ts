import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { HttpSinkConfig } from '../../config/http.js';
import { asJsonObject } from '../../formats/json-members.js';
import { createSplunkEvent, shrinkSplunkEvent } from '../../formats/splunk-event.js';
import type { Finding } from '../sink.js';
import { BrokenExchange, type HttpAnswer, type HttpExchange } from './exchange.js';
import {
  type AnswerVerdict,
  faultFinding,
  foreignBody,
  type HttpProtocol,
  isSuccess,
  jsonObject,
  judgeStatus,
  longestMessage,
  receiverText,
} from './protocol.js';

/** Codes of the collector's answers. */
const NO_DATA = 5;
/** An event of the request is the cause: invalid data, no event, a blank event, invalid fields. */
const OF_EVENTS: readonly unknown[] = [6, 12, 13, 15];
/** An index that the token may not write to, no channel, an invalid channel, acknowledgement is off. */
const OF_CONFIGURATION: Readonly<Record<number, string>> = {
  7: 'Set index to one that the token may write to',
  10: 'The token has acknowledgement enabled: set ack: true',
  11: 'Set ack: false, or enable acknowledgement for the token',
  14: 'Set ack: false, or enable acknowledgement for the token',
};

/** How long an acknowledgement may take; then the events are sent again. */
const ACK_MS = 30_000;
const FIRST_ASK_MS = 100;
const LATER_ASK_MS = 1_000;

/** Splunk's HTTP Event Collector. */
export function createSplunkHec(config: HttpSinkConfig): HttpProtocol {
  const index = config.index ?? null;
  const most = longestMessage(config);
  const { format, last } = createSplunkEvent(index, most);
  const channel = randomUUID();
  return {
    encoder: { key: `splunk-hec ${index} ${most}`, format, last, end: '\n' },
    contentType: 'application/json',
    scheme: 'Splunk',
    headers: { 'X-Splunk-Request-Channel': channel },
    bodyOf: (messages) => Buffer.concat(messages),
    judge: judgeEvents,
    shrink: (message, bytes) => {
      const shorter = shrinkSplunkEvent(message.subarray(0, -1), bytes - 1);
      return shorter === null ? null : Buffer.concat([shorter, Buffer.from('\n')]);
    },
    ...(config.ack === true
      ? {
          confirm: (answer: HttpAnswer, exchange: HttpExchange, signal: AbortSignal) =>
            waitForAck(answer, exchange, channel, signal),
        }
      : {}),
    probe: (exchange, signal) => probeCollector(exchange, channel, signal),
  };
}

function judgeEvents(answer: HttpAnswer): AnswerVerdict {
  const said = jsonObject(answer.body);
  const code = said?.code;
  if (isSuccess(answer.status))
    return code === 0 ? { verdict: 'stored', rejected: 0, reason: '' } : foreignBody(answer);
  if (answer.status !== 400 || typeof code !== 'number') return judgeStatus(answer);
  const reason = `code ${code}: ${receiverText(String(said?.text ?? ''))}`;
  if (OF_EVENTS.includes(code)) return { verdict: 'refused', reason };
  const next = OF_CONFIGURATION[code] ?? "Check url and credentials, and Splunk's log";
  return { verdict: 'misconfigured', reason, next };
}

/** The url of the query for acknowledgements. */
function ackUrl(url: URL, channel: string): URL {
  const query = new URL(url);
  query.pathname = url.pathname.replace(/\/collector(\/event(\/1\.0)?)?$/, '/collector/ack');
  query.search = `?channel=${channel}`;
  return query;
}

/** Waits until the indexer has stored the events of a request. */
async function waitForAck(
  answer: HttpAnswer,
  exchange: HttpExchange,
  channel: string,
  signal: AbortSignal,
): Promise<AnswerVerdict> {
  const id = jsonObject(answer.body)?.ackId;
  if (typeof id !== 'number') {
    const next = 'Enable acknowledgement for the token, or set ack: false';
    return { verdict: 'misconfigured', reason: 'the answer has no ackId', next };
  }
  const started = performance.now();
  const request = {
    method: 'POST',
    url: ackUrl(exchange.url, channel),
    contentType: 'application/json',
    headers: { 'X-Splunk-Request-Channel': channel },
    body: Buffer.from(JSON.stringify({ acks: [id] })),
  } as const;
  for (
    let pause = FIRST_ASK_MS;
    performance.now() - started < ACK_MS;
    pause = Math.min(LATER_ASK_MS, pause * 2)
  ) {
    const said = await exchange.send(request, signal);
    if (!(said instanceof BrokenExchange)) {
      const acks = isSuccess(said.status) ? asJsonObject(jsonObject(said.body)?.acks) : null;
      if (acks?.[String(id)] === true) return { verdict: 'stored', rejected: 0, reason: '' };
      const verdict = acks === null ? judgeEvents(said) : null;
      if (verdict?.verdict === 'misconfigured') return verdict;
    }
    await sleep(pause, undefined, { signal });
  }
  return { verdict: 'busy', reason: `no acknowledgement within ${ACK_MS / 1_000} s` };
}

/** An empty request is refused with code 5, if the token is valid. */
async function probeCollector(
  exchange: HttpExchange,
  channel: string,
  signal: AbortSignal,
): Promise<Finding[]> {
  const { name } = exchange;
  const answer = await exchange.ask(
    {
      method: 'POST',
      contentType: 'application/json',
      headers: { 'X-Splunk-Request-Channel': channel },
      body: Buffer.alloc(0),
    },
    signal,
  );
  if (answer.status === 400 && jsonObject(answer.body)?.code === NO_DATA)
    return [{ level: 'ok', what: `${name}: it accepts the token` }];
  const finding = faultFinding(name, judgeEvents(answer));
  return finding === null
    ? [
        {
          level: 'warning',
          what: `${name}: it answers an empty request with status ${answer.status}`,
          next: 'Check url',
        },
      ]
    : [finding];
}
