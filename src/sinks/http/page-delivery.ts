import type { HttpSinkConfig } from '../../config/http.js';
import { AuditdError, messageOf } from '../../errors.js';
import { messageAt } from '../messages.js';
import type { MessageBatch, OnProgress } from '../sink.js';
import { sinkFailed } from '../sink-failed.js';
import { BrokenExchange, type HttpExchange } from './exchange.js';
import { OPEN, openSamples, PASSED, REFUSED, SENT, TAKEN } from './page-states.js';
import type { AnswerVerdict, HttpProtocol } from './protocol.js';
import { type ReceiverState, type RefusedEvent, refusalError } from './receiver-state.js';
import { RetryPause } from './retry-pause.js';

/** A page is cut short after so long: shipping's limit for a delivery is 60 s, and a request may take up to 50 s. */
const LIMIT_MS = 20_000;
/** Requests in flight at a time, while nothing is wrong. */
const WINDOW = 2;

/** The connection breaks again and again at one event. */
type Breaks = { readonly verdict: 'breaks' };
const BREAKS_AT_EVENT = 'the receiver breaks the connection whenever this event is sent, and takes others';

export interface PageDeliveryOptions {
  readonly batch: MessageBatch;
  readonly exchange: HttpExchange;
  readonly protocol: HttpProtocol;
  readonly receiver: ReceiverState;
  readonly config: Pick<HttpSinkConfig, 'max_events' | 'on_refused'>;
  readonly signal: AbortSignal;
  readonly onProgress: OnProgress | null;
}

/** How far a page got. Without an error and with less than all: the time was over. */
export interface PageProgress {
  /** Events from the first on that are delivered, or passed because they are refused. */
  readonly count: number;
  readonly error: AuditdError | null;
}

/**
 * Delivers one page in requests. A request that is refused as a whole is bisected down to the event that is the cause. That event is passed
 * when the receiver has taken another one after it; if it takes none, the page ends with an error before the refused event.
 */
export class PageDelivery {
  private readonly count: number;
  private readonly states: Uint8Array;
  private readonly reasons = new Map<number, string>();
  /** Shorter forms of messages that were too large. */
  private readonly shrunk = new Map<number, Buffer>();
  private prefix = 0;
  private error: AuditdError | null = null;
  private readonly started = performance.now();
  private readonly pause = new RetryPause(this.started + LIMIT_MS);
  /** In this page the receiver took an event after it had refused one. */
  private isProven = false;
  private needsProof = false;
  /** Events that break the connection while others are taken. */
  private readonly guilty = new Set<number>();

  constructor(private readonly options: PageDeliveryOptions) {
    this.count = options.batch.messages.length;
    this.states = new Uint8Array(this.count);
  }

  async run(): Promise<PageProgress> {
    const inFlight = new Set<Promise<void>>();
    for (;;) {
      while (this.mayContinue() && !this.needsProof && inFlight.size < this.window()) {
        const picks = this.nextRequest();
        if (picks.length === 0) break;
        const request = this.request(picks).finally(() => inFlight.delete(request));
        inFlight.add(request);
      }
      if (inFlight.size > 0) await Promise.race(inFlight);
      else if (this.mayContinue() && this.reasons.size > 0) await this.prove();
      else if (!this.mayContinue() || this.nextOpen(0) < 0) break;
    }
    const { prefix: count, error } = this;
    if (error === null && count === 0)
      return {
        count,
        error: sinkFailed(`${this.name}: nothing was taken within 20 s`, "Check the receiver's load and log"),
      };
    return { count, error };
  }

  private get name(): string {
    return this.options.exchange.name;
  }

  private mayContinue(): boolean {
    return this.error === null && performance.now() - this.started < LIMIT_MS;
  }

  private window(): number {
    const { receiver, batch } = this.options;
    const isCalm = this.pause.isCalm && this.reasons.size === 0 && receiver.suspectedUpTo(batch) === null;
    return isCalm ? WINDOW : 1;
  }

  private sequence(at: number): number {
    return this.options.batch.messages.sequences[at] ?? 0;
  }

  private message(at: number): Buffer {
    return this.shrunk.get(at) ?? messageAt(this.options.batch.messages, at);
  }

  private nextOpen(from: number): number {
    return this.states.indexOf(OPEN, Math.max(from, this.prefix));
  }

  /** The places of the events of the next request; none if there is nothing to send. */
  private nextRequest(): number[] {
    const { receiver, config, batch } = this.options;
    const suspected = receiver.suspectedUpTo(batch);
    const picks: number[] = [];
    let bytes = 0;
    let isBisecting = false;
    for (let at = this.nextOpen(0); at >= 0; at = this.nextOpen(at + 1)) {
      const isSuspect = suspected !== null && this.sequence(at) <= suspected;
      if (isBisecting && !isSuspect) break;
      isBisecting ||= isSuspect;
      if (this.guilty.has(at)) {
        if (picks.length === 0) return [at];
        break;
      }
      bytes += this.message(at).length;
      if (picks.length > 0 && (bytes > receiver.requestLimit || picks.length === config.max_events)) break;
      picks.push(at);
    }
    if (!isBisecting) {
      if (suspected !== null && picks.length > 0) receiver.suspect(batch, null);
      return picks;
    }
    return picks.slice(0, Math.ceil(picks.length / 2));
  }

  private async request(picks: readonly number[]): Promise<void> {
    for (const at of picks) this.states[at] = SENT;
    const messages = picks.map((at) => this.message(at));
    const isGuilty = picks.length === 1 && this.guilty.has(picks[0] ?? 0);
    const verdict = await this.send(messages, isGuilty);
    for (const at of picks) this.states[at] = OPEN;
    if (verdict?.verdict === 'breaks') await this.findCause(picks[0] ?? 0);
    else if (verdict !== null) this.apply(verdict, picks, messages);
    this.advance();
  }

  /** Null if the page has to end: `error` says why. */
  private async send(messages: readonly Buffer[], isGuilty = false): Promise<AnswerVerdict | Breaks | null> {
    const { exchange, protocol, receiver, signal } = this.options;
    try {
      await this.pause.over(signal);
      const { contentType, headers } = protocol;
      receiver.totals.requests++;
      const answer = await exchange.send(
        { method: 'POST', contentType, headers, body: protocol.bodyOf(messages) },
        signal,
      );
      if (answer instanceof BrokenExchange) return this.noteBroken(answer, messages, isGuilty);
      receiver.broken.answered();
      const verdict = protocol.judge(answer, messages.length);
      if (verdict.verdict === 'busy')
        this.noteBusy(`${this.name}: ${verdict.reason}`, null, answer.retryAfterMs);
      else if (verdict.verdict === 'each' && verdict.fates.some(({ fate }) => fate === 'busy')) {
        const reasons = verdict.fates.flatMap((one) => (one.fate === 'busy' ? [one.reason] : []));
        this.noteBusy(`${this.name}: ${reasons[0]}`, null, answer.retryAfterMs);
      } else this.pause.calm();
      if (verdict.verdict !== 'stored' || protocol.confirm === undefined) return verdict;
      return await protocol.confirm(answer, exchange, signal);
    } catch (error) {
      this.error ??=
        error instanceof AuditdError
          ? error
          : sinkFailed(`${this.name}: ${messageOf(error)}`, 'The sink retries', error);
      return null;
    }
  }

  /** Null: the same again, or a smaller request. */
  private noteBroken(
    { error, isTimeout }: BrokenExchange,
    messages: readonly Buffer[],
    isGuilty: boolean,
  ): Breaks | null {
    if (isGuilty && !isTimeout) return { verdict: 'breaks' };
    const { receiver } = this.options;
    const bytes = messages.reduce((sum, { length }) => sum + length, 0);
    const after = isTimeout ? 'again' : receiver.broken.broke(bytes, messages.length, performance.now());
    receiver.noteBroken(after, bytes);
    if (after !== 'again') this.pause.calm(); // what follows is another request
    this.noteBusy(error.what, error.next, null);
    return after === 'find cause' ? { verdict: 'breaks' } : null;
  }

  /**
   * A single event breaks the connection again and again. If the receiver takes another event, the event is shortened, and in its least form
   * refused; each further break is then enough. If not, the receiver is down.
   */
  private async findCause(at: number): Promise<void> {
    const { receiver } = this.options;
    if (!this.guilty.has(at) && !(await this.takesAnother(at))) {
      receiver.broken.isDown(performance.now());
      return;
    }
    this.guilty.add(at);
    receiver.broken.forget();
    this.shrink(at, BREAKS_AT_EVENT);
    if (this.states[at] === REFUSED) this.pass((refused) => refused === at);
  }

  /** Sends the witness, or else up to three other events of the page. */
  private async takesAnother(at: number): Promise<boolean> {
    if (this.options.receiver.witness !== null) return (await this.sendWitness()) === 'taken';
    this.states[at] = SENT; // not in those requests
    const others = openSamples(this.states);
    for (const other of others) {
      await this.request([other]);
      if (this.states[other] !== OPEN) break;
    }
    this.states[at] = OPEN;
    return others.some((other) => this.states[other] === TAKEN);
  }

  /** Retried within this page while time allows, else by shipping after a pause. */
  private noteBusy(what: string, next: string | null, retryAfterMs: number | null): void {
    this.options.receiver.totals.retries++;
    if (!this.pause.lengthen(retryAfterMs))
      this.error ??= new AuditdError('SINK_FAILED', what, { next: next ?? 'The sink retries', retryAfterMs });
  }

  private apply(verdict: AnswerVerdict, picks: readonly number[], messages: readonly Buffer[]): void {
    const { receiver, batch } = this.options;
    const [first = 0] = picks;
    const last = picks.at(-1) ?? first;
    switch (verdict.verdict) {
      case 'stored':
        if (verdict.rejected >= picks.length) for (const at of picks) this.refuse(at, verdict.reason);
        else {
          for (const at of picks) this.take(at, false);
          if (verdict.rejected > 0) {
            const event = { ...this.refusedEvent(last), reason: verdict.reason };
            receiver.passUnnamed(batch, verdict.rejected, this.sequence(first), event);
          } else receiver.setWitness(messages.at(-1) ?? Buffer.alloc(0));
        }
        return;
      case 'each':
        for (const [n, at] of picks.entries()) {
          const one = verdict.fates[n];
          if (one?.fate === 'refused') this.refuse(at, one.reason);
          else if (one !== undefined && one.fate !== 'busy') this.take(at, one.fate === 'known');
        }
        this.keepWitness(picks, messages);
        return;
      case 'too large':
        if (picks.length > 1) receiver.tooLarge(messages.reduce((sum, { length }) => sum + length, 0));
        else this.shrink(first, verdict.reason);
        return;
      case 'refused':
        if (picks.length === 1) this.refuse(first, verdict.reason);
        else receiver.suspect(batch, this.sequence(last));
        return;
      case 'misconfigured':
        this.error ??= sinkFailed(`${this.name}: ${verdict.reason}`, verdict.next);
        return;
      case 'busy':
        return;
    }
  }

  private take(at: number, isKnown: boolean): void {
    const { totals } = this.options.receiver;
    this.states[at] = TAKEN;
    totals.messages++;
    if (isKnown) totals.known++;
  }

  private refuse(at: number, reason: string): void {
    this.states[at] = REFUSED;
    this.reasons.set(at, reason);
    this.needsProof = !this.isProven;
  }

  private keepWitness(picks: readonly number[], messages: readonly Buffer[]): void {
    const n = picks.findLastIndex((at) => this.states[at] === TAKEN);
    const message = messages[n];
    if (message !== undefined) this.options.receiver.setWitness(message);
  }

  private shrink(at: number, reason: string): void {
    const { protocol } = this.options;
    const message = this.message(at);
    const shorter = protocol.shrink(message, Math.floor(message.length / 2));
    if (shorter === null) this.refuse(at, reason);
    else this.shrunk.set(at, shorter);
  }

  /** Passes refused events behind which one was taken, and moves the cursor. */
  private advance(): void {
    const { batch, onProgress } = this.options;
    const lastTaken = this.states.lastIndexOf(TAKEN);
    this.pass((at) => at < lastTaken);
    if (this.reasons.size === 0) this.needsProof = false;
    const before = this.prefix;
    while (
      this.prefix < this.count &&
      (this.states[this.prefix] ?? OPEN) !== OPEN &&
      this.isDone(this.prefix)
    )
      this.prefix++;
    if (this.prefix > before)
      onProgress?.(this.prefix === this.count ? batch.upTo : this.sequence(this.prefix - 1));
  }

  private isDone(at: number): boolean {
    return this.states[at] === TAKEN || this.states[at] === PASSED;
  }

  private pass(isProven: (at: number) => boolean): void {
    const { receiver, batch, config } = this.options;
    const passed = [...this.reasons.keys()].filter(isProven).sort((a, b) => a - b);
    const [first] = passed;
    if (first === undefined) return;
    if (config.on_refused === 'hold') {
      this.error ??= refusalError(this.name, batch, this.refusedEvent(first), true);
      return;
    }
    receiver.passRefused(
      batch,
      passed.map((at) => this.refusedEvent(at)),
    );
    for (const at of passed) {
      this.states[at] = PASSED;
      this.reasons.delete(at);
    }
    this.isProven = true;
  }

  private refusedEvent(at: number): RefusedEvent {
    const { messages } = this.options.batch;
    return { sequence: this.sequence(at), id: messages.idAt(at), reason: this.reasons.get(at) ?? '' };
  }

  /**
   * Finds out whether the events or the configuration are the cause: by the witness, else by up to three later events of the page. If nothing
   * is taken, the page ends.
   */
  private async prove(): Promise<void> {
    const known = await this.sendWitness();
    if (known === 'unknown') return; // busy: later again
    if (known === 'taken') {
      this.pass(() => true);
      this.needsProof = false;
      this.advance();
      return;
    }
    for (const at of openSamples(this.states)) {
      await this.request([at]);
      if (!this.mayContinue() || this.states[at] !== REFUSED) return;
    }
    const [first = 0] = [...this.reasons.keys()].sort((a, b) => a - b);
    this.error ??= refusalError(this.name, this.options.batch, this.refusedEvent(first), false);
  }

  /** Sends an event again that the receiver had taken. */
  private async sendWitness(): Promise<'taken' | 'refused' | 'unknown'> {
    const { witness } = this.options.receiver;
    if (witness === null) return 'refused';
    const verdict = await this.send([witness]);
    switch (verdict?.verdict) {
      case 'stored':
        return verdict.rejected === 0 ? 'taken' : 'refused';
      case 'each': {
        const fate = verdict.fates[0]?.fate;
        return fate === 'busy' ? 'unknown' : fate === 'refused' ? 'refused' : 'taken';
      }
      case 'refused':
      case 'too large':
        return 'refused';
      case 'misconfigured':
        this.error ??= sinkFailed(`${this.name}: ${verdict.reason}`, verdict.next);
        return 'unknown';
      default:
        return 'unknown';
    }
  }
}
