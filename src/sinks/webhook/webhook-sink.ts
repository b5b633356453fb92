import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import type { AuditEvent } from '../../audit/event.js';
import { parseHttpUrl, staysOnHost, URL_TEXT } from '../../config/http.js';
import type { WebhookSinkConfig } from '../../config/webhook.js';
import { AuditdError, diagnosisOf } from '../../errors.js';
import { notificationOf } from '../../formats/notification.js';
import { secretIn } from '../http/credentials.js';
import { type HttpAnswer, HttpExchange } from '../http/exchange.js';
import type { Batch, Delivered, EventSink, Finding, SinkDeps, SinkFigures } from '../sink.js';
import { sinkFailed } from '../sink-failed.js';
import { Pacing } from './pacing.js';
import { webhookMessage } from './presets.js';

/** A call waits at most so long for its turn: shipping's limit for a delivery is 60 s. */
const LONGEST_WAIT_MS = 40_000;
const IDLE_MS = 60_000;

/** Sends messages about events to people. Events that wait for the next message stay in their table: there is no queue to lose. */
export function createWebhookSink(config: WebhookSinkConfig, deps: SinkDeps): EventSink {
  return new WebhookSink(config, deps);
}

class WebhookSink implements EventSink {
  /** A message may come twice after a crash, and none comes for an event that is older than `max_age`. */
  readonly deliveryClass = 'best effort';
  readonly encoder = null;
  private exchange: HttpExchange | null = null;
  private readonly pacing: Pacing;
  /** Events that were too old since the last message. */
  private older = 0;
  /** The last message was not taken. */
  private isDown = false;
  private readonly totals = { messages: 0, events: 0, older: 0 };

  constructor(
    private readonly config: WebhookSinkConfig,
    private readonly deps: SinkDeps,
  ) {
    this.pacing = new Pacing(config.group_wait, config.rate);
  }

  async open(): Promise<null> {
    this.exchange?.close();
    this.exchange = exchangeFor(this.config);
    return null;
  }

  async deliver({ events, upTo }: Batch, signal: AbortSignal): Promise<Delivered> {
    const now = this.deps.clock();
    const fresh = events.filter((event) => now - timeOf(event) <= this.config.max_age);
    const passed = events.length - fresh.length;
    if (fresh.length === 0) {
      this.pass(passed);
      return { upTo };
    }
    const wait = this.pacing.wait(performance.now());
    if (wait > 0) {
      await sleep(Math.min(wait, LONGEST_WAIT_MS), undefined, { signal });
      // The page is read again, with what has come meanwhile. While the receiver is down, that would look like a success.
      if (!this.isDown || this.pacing.wait(performance.now()) > 0)
        return { upTo: (events[0]?.sequence ?? 1) - 1 };
    }
    this.isDown = true;
    await this.send(fresh, this.older + passed, signal);
    this.isDown = false;
    this.pass(passed);
    this.older = 0;
    return { upTo };
  }

  async check(): Promise<Finding[]> {
    try {
      const { url, name } = exchangeFor(this.config);
      if (url.protocol === 'http:' && !staysOnHost(url))
        return [
          {
            level: 'warning',
            what: `${name}: the url is http, so all messages cross the network in clear text`,
            next: 'Use https',
          },
        ];
      // Whether a receiver takes messages is seen only by sending one.
      return [
        {
          level: 'ok',
          what: `${name}: send a test message with: postern-auditd notify test ${this.deps.name}`,
        },
      ];
    } catch (error) {
      const { what, next } = diagnosisOf(error);
      return [{ level: 'error', what, ...(next === null ? {} : { next }) }];
    }
  }

  figures(): SinkFigures {
    return {
      target: this.exchange?.name ?? null,
      messages_total: this.totals.messages,
      events_total: this.totals.events,
      older_total: this.totals.older,
    };
  }

  tickPeriod(): number {
    return IDLE_MS;
  }

  async close(): Promise<void> {
    this.exchange?.close();
    this.exchange = null;
  }

  /** Counts events that are not sent because they are too old. */
  private pass(count: number): void {
    this.older += count;
    this.totals.older += count;
  }

  private async send(events: readonly AuditEvent[], older: number, signal: AbortSignal): Promise<void> {
    const exchange = this.exchange ?? exchangeFor(this.config);
    this.exchange = exchange;
    const { url, body } = webhookMessage(notificationOf(events, older), exchange.url, this.config);
    const answer = await exchange.ask(
      { method: 'POST', url, contentType: 'application/json', body: Buffer.from(body) },
      signal,
    );
    const refusal = refusalOf(exchange.name, answer);
    if (refusal !== null) throw refusal;
    this.pacing.note(performance.now());
    this.totals.messages++;
    this.totals.events += events.length;
  }
}

/** The time of an event; that of reading, where its own can't be read. */
function timeOf(event: AuditEvent): number {
  return event.time ?? event.ingested;
}

/** @throws AuditdError if url_file can't be read, or has no URL; its content is not repeated */
function exchangeFor(config: WebhookSinkConfig): HttpExchange {
  const url = config.url ?? urlIn(config.url_file ?? '');
  return new HttpExchange({ ...config, url, compression: 'none' }, 'Bearer');
}

function urlIn(path: string): string {
  const text = secretIn(path, 'url_file', false).trim();
  if (parseHttpUrl(text) === null)
    throw sinkFailed(`url_file: ${path} has no URL`, `Write the URL alone into the file: ${URL_TEXT}`);
  return text;
}

/** Null if the message was taken. Neither the answer's text nor a location is named: they may repeat the url, which may be a secret. */
function refusalOf(name: string, { status, retryAfterMs, location }: HttpAnswer): AuditdError | null {
  if (status >= 200 && status < 300) return null;
  const what = `${name}: it answered ${status}`;
  if (status >= 300 && status < 400)
    return sinkFailed(
      `${what}, a redirect${location === null ? '' : ' to another place'}`,
      'Write the final url into the configuration',
    );
  if (status === 429)
    return retryLater(`${what}, too many messages`, 'Raise group_wait, or lower rate', retryAfterMs);
  if (status === 401 || status === 403) return sinkFailed(what, 'Check the url and the credentials');
  if (status === 404 || status === 410)
    return sinkFailed(what, 'Check the url: the webhook or the topic may have been deleted');
  if (status < 500 && status !== 408) return sinkFailed(what, 'Check preset, url and template');
  return retryLater(what, "Check the receiver's log", retryAfterMs);
}

function retryLater(what: string, next: string, retryAfterMs: number | null): AuditdError {
  return new AuditdError('SINK_FAILED', what, { next, retryAfterMs });
}
