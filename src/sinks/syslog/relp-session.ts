import type { AuditdError } from '../../errors.js';
import { VERSION } from '../../version.js';
import { messageAt } from '../messages.js';
import type { MessageBatch, OnProgress } from '../sink.js';
import { sinkFailed } from '../sink-failed.js';
import { type CollectorSession, SEND_LIMIT_MS, type Sent, type TlsState } from './collector-session.js';
import { FrameBuffer } from './frame-buffer.js';
import type { MonitoredSocket } from './monitored-socket.js';
import {
  nextTxnr,
  parseAnswer,
  type RelpAnswer,
  type RelpFrame,
  RelpParser,
  relpFrame,
} from './relp-frame.js';
import type { RelpWindow } from './relp-window.js';
import { aborted, type ConnectOptions, timedOut, timeLeft } from './tcp.js';

const OFFERS = `relp_version=0\nrelp_software=postern-auditd,${VERSION}\ncommands=syslog`;
/** After so long without any answer the connection is closed. */
const ANSWER_MS = 25_000;
const CLOSE_MS = 1_000;
const LOG = "Check the collector's log";
const NOT_RELP = 'Check that the port is that of a RELP input';
/** Bytes joined into one write. */
const WRITE = 64 * 1024;
/** So long a few answers wait for more. */
const FEW_ANSWERS_MS = 1;

/** What the collector did wrong. */
interface Problem {
  /** Behind the target's name. */
  readonly what: string;
  readonly next: string;
}

/** One event on its way. */
interface Transaction {
  readonly source: string;
  readonly timeline: number;
  readonly sequence: number;
  readonly id: string;
  answered: boolean;
}

/** What `send` waits for. */
interface InFlightBatch {
  readonly length: number;
  /** So many may be unanswered at its end. */
  readonly mayStayOpen: number;
  /** The transactions of the batch's first events, as far as they are sent. */
  readonly sent: Transaction[];
  /** The first so many are answered. */
  prefix: number;
  /** The number of events saved as answered: after a crash the rows after them are sent again. */
  reported: number;
  readonly report: (prefix: number) => boolean;
  onAnswer: () => void;
}

/**
 * One RELP session: `open` with offers, `syslog` transactions with a window of unanswered ones, `close`.
 *
 * Delivered is what the collector has answered with 200. It answers in any order; what counts is the first events without
 * a gap.
 *
 * The window bounds the duplicates after a crash of this process: events that are sent and of which the cursor does not know that they are
 * answered. So the cursor is moved within a batch, a quarter of the window at a time (each move is a transaction).
 *
 * librelp writes each answer on its own with Nagle's algorithm on: the second answer leaves only after the first is acknowledged, and the
 * kernel here acknowledges with the next data it sends, or after 40 ms. Three rules follow from it:
 *
 * - After answers something is always sent, until the batch is sent.
 * - It is sent a millisecond later if there is room for few events. Without this pause both sides settle at one answer and one event
 *   at a time, each with its own system calls (measured: 88 µs of CPU an event instead of 24).
 * - In a backlog a batch is not waited for to its last answer. The events still on their way are left open, shipping gives them again
 *   with the next batch, and they are recognised and not sent twice. So that only a few are left, at the end of the batch one event is sent
 *   for about two answers.
 */
export class RelpSession implements CollectorSession {
  private readonly parser = new RelpParser();
  private readonly frames = new FrameBuffer();
  private txnr = 1;
  /** By transaction number, what is not answered. */
  private readonly unansweredNow = new Map<number, Transaction>();
  /** Sent in earlier rounds and not yet reported as delivered. */
  private inFlight: Transaction[] = [];
  private round: InFlightBatch | null = null;
  private answerTo: { txnr: number; resolve: (answer: RelpAnswer) => void } | null = null;
  private lastAnswer = performance.now();
  private collector = '';

  constructor(
    readonly target: string,
    readonly link: MonitoredSocket,
    readonly tls: TlsState | null,
    private readonly limits: RelpWindow,
  ) {}

  get window(): number {
    return this.limits.size;
  }

  get unanswered(): number {
    return this.unansweredNow.size;
  }

  /** What the collector calls itself; empty before `open`, or if it sends no name. */
  get software(): string {
    return this.collector;
  }

  /** Handles data received over the connection. */
  receive(data: Buffer): void {
    if (this.link.ended !== null) return;
    try {
      this.parser.push(data, (frame) => this.handleFrame(frame));
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      this.fail({ what: `sent an answer that is not RELP (${text})`, next: NOT_RELP });
    }
    this.round?.onAnswer();
  }

  /** Agrees on the session. @throws AuditdError if the collector refuses it or does not answer */
  async open(options: ConnectOptions): Promise<void> {
    const answer = await this.command('open', OFFERS, options);
    const refusal = openRefusal(answer);
    if (refusal === null) {
      this.collector = answer.offers.get('relp_software') ?? '';
      return;
    }
    throw this.fail(refusal);
  }

  async send(batch: MessageBatch, signal: AbortSignal, onProgress?: OnProgress): Promise<Sent> {
    const stop = () => this.link.destroy(aborted(this.target, signal));
    signal.addEventListener('abort', stop, { once: true });
    if (signal.aborted) stop();
    const before = this.link.bytes;
    const started = performance.now();
    if (this.unansweredNow.size === 0) this.lastAnswer = started;
    this.limits.adjust(batch);
    const inFlight = this.resumeInFlight(batch);
    const round: InFlightBatch = {
      length: batch.messages.length,
      mayStayOpen: this.limits.mayStayOpen(batch, this.inFlight.length),
      sent: inFlight,
      prefix: 0,
      reported: 0,
      report: (prefix) => onProgress === undefined || onProgress(batch.messages.sequences[prefix - 1] ?? 0),
      onAnswer: () => undefined,
    };
    this.round = round;
    const watch = setInterval(() => this.checkAnswerTimeout(), 1_000);
    let forget: () => void = () => undefined;
    let waiting: NodeJS.Timeout | undefined;
    try {
      await new Promise<void>((resolve) => {
        const step = () => {
          waiting = undefined;
          advancePrefix(round);
          const stop = performance.now() - started > SEND_LIMIT_MS || !this.sendWithinWindow(round, batch);
          const done = stop
            ? round.prefix >= round.sent.length
            : round.sent.length >= round.length && round.prefix >= round.length - round.mayStayOpen;
          if (done || this.link.ended !== null) resolve();
        };
        round.onAnswer = () => {
          if (!this.waitsForAnswers(round)) step();
          else waiting ??= setTimeout(step, FEW_ANSWERS_MS);
        };
        forget = this.link.onEnd(() => resolve());
        step();
      });
      return { count: round.prefix, bytes: this.link.bytes - before, error: this.link.ended?.error ?? null };
    } finally {
      clearInterval(watch);
      clearTimeout(waiting);
      forget();
      if (batch.replay !== true) this.inFlight.push(...round.sent.slice(round.prefix));
      this.round = null;
      signal.removeEventListener('abort', stop);
    }
  }

  async close(): Promise<boolean> {
    if (this.link.ended !== null) return false;
    const { signal } = new AbortController();
    try {
      await this.command('close', '', { timeoutMs: CLOSE_MS, startedAt: performance.now(), signal });
    } catch {
      // answered or not, the connection is closed now
    }
    return this.link.close(CLOSE_MS);
  }

  /** The transactions of the batch's first events that are on their way from an earlier round. */
  private resumeInFlight({ source, timeline, messages, replay }: MessageBatch): Transaction[] {
    if (replay === true) return [];
    const mine = this.inFlight.filter((open) => open.source === source);
    this.inFlight = this.inFlight.filter((open) => open.source !== source);
    const other = mine.findIndex(
      (open, index) =>
        open.timeline !== timeline ||
        open.sequence !== messages.sequences[index] ||
        open.id !== messages.idAt(index),
    );
    return other < 0 ? mine : mine.slice(0, other);
  }

  /** True while there is room for few events and answers are to come: it is better to send more of them a little later. */
  private waitsForAnswers(round: InFlightBatch): boolean {
    const open = this.unansweredNow.size;
    const limit = this.openLimit(round);
    return (
      this.link.ended === null && round.sent.length < round.length && open > 0 && limit - open < limit / 4
    );
  }

  /** How many events may be unanswered now. In a backlog they become fewer at the end of a batch. */
  private openLimit({ sent, length, mayStayOpen }: InFlightBatch): number {
    const { mayBeOpen } = this.limits;
    return mayStayOpen === 0 ? mayBeOpen : Math.min(mayBeOpen, mayStayOpen + length - sent.length);
  }

  /**
   * Sends as many as the window allows, at least one, joined into few writes.
   * False if nothing can be sent before the cursor is moved, and it can't be.
   */
  private sendWithinWindow(round: InFlightBatch, batch: MessageBatch): boolean {
    const { source, timeline, messages } = batch;
    const { size, mayBeOpen } = this.limits;
    const { frames } = this;
    let stuck = false;
    let limit = mayBeOpen; // for the first one: after an answer something has to be sent
    while (this.unansweredNow.size < limit) {
      const at = round.sent.length;
      const sequence = messages.sequences[at];
      if (sequence === undefined) break;
      if (this.inFlight.length + round.sent.length - round.reported >= size) {
        stuck = round.prefix > round.reported && !round.report(round.prefix);
        if (stuck || round.prefix === round.reported) break;
        round.reported = round.prefix;
        continue;
      }
      const open: Transaction = { source, timeline, sequence, id: messages.idAt(at), answered: false };
      round.sent.push(open);
      this.unansweredNow.set(this.txnr, open);
      frames.addCounted(messageAt(messages, at), `${this.txnr} syslog `, '\n');
      this.txnr = nextTxnr(this.txnr);
      if (frames.length >= WRITE) this.link.write(frames.take());
      limit = this.openLimit(round);
    }
    if (frames.length > 0) this.link.write(frames.take());
    return !stuck;
  }

  private handleFrame(frame: RelpFrame): void {
    if (frame.txnr === 0) {
      if (frame.command === 'serverclose')
        this.fail({ what: 'ended the session (serverclose)', next: 'The sink opens a new one' });
      return; // other hints mean nothing to us
    }
    if (frame.command !== 'rsp') {
      this.fail({ what: `sent the command ${frame.command}, which only a client may send`, next: NOT_RELP });
      return;
    }
    const answer = parseAnswer(frame.data);
    this.lastAnswer = performance.now();
    if (this.answerTo?.txnr === frame.txnr) {
      this.answerTo.resolve(answer);
      this.answerTo = null;
      return;
    }
    this.handleAnswer(frame.txnr, answer);
  }

  private handleAnswer(txnr: number, answer: RelpAnswer): void {
    const open = this.unansweredNow.get(txnr);
    if (open === undefined) {
      this.fail({ what: `answered transaction ${txnr}, which is not open`, next: LOG });
      return;
    }
    if (answer.code !== 200) {
      const reason = answer.text === '' ? '' : ` ${answer.text}`;
      const which = `${open.source}:${open.sequence}`;
      this.fail({
        what: `rejected event ${which}: ${answer.code}${reason}`,
        next: "Check the collector's log; the event is sent again",
      });
      return;
    }
    open.answered = true;
    this.unansweredNow.delete(txnr);
  }

  private checkAnswerTimeout(): void {
    if (this.link.ended === null && performance.now() - this.lastAnswer > ANSWER_MS) {
      const open = this.unanswered;
      this.fail(
        {
          what: `has not answered for ${ANSWER_MS / 1000} s, with ${open} events unanswered`,
          next: 'Check whether the collector hangs',
        },
        true,
      );
    }
    this.round?.onAnswer();
  }

  private command(command: string, data: string, options: ConnectOptions): Promise<RelpAnswer> {
    const { timeoutMs, signal } = options;
    const { txnr } = this;
    this.txnr = nextTxnr(txnr);
    return new Promise((resolve, reject) => {
      const onAbort = () => this.link.destroy(aborted(this.target, signal));
      const timer = setTimeout(
        () => this.link.destroy(timedOut(`${this.target} (RELP ${command})`, timeoutMs)),
        timeLeft(options),
      );
      signal.addEventListener('abort', onAbort, { once: true });
      let forget: () => void = () => undefined;
      const settle = () => {
        clearTimeout(timer);
        signal.removeEventListener('abort', onAbort);
        forget();
      };
      forget = this.link.onEnd(({ error }) => {
        settle();
        reject(error);
      });
      this.answerTo = {
        txnr,
        resolve: (answer) => {
          settle();
          resolve(answer);
        },
      };
      this.link.write(Buffer.from(relpFrame(txnr, command, data)));
    });
  }

  private fail({ what, next }: Problem, stalled = false): AuditdError {
    const error = sinkFailed(`${this.target} ${what}`, next);
    this.link.destroy(error, stalled);
    return error;
  }
}

function advancePrefix(round: InFlightBatch): void {
  while (round.sent[round.prefix]?.answered === true) round.prefix++;
}

/** Why an answer to `open` makes no session; null if it does. */
function openRefusal({ code, text, offers }: RelpAnswer): Problem | null {
  if (code !== 200) return { what: `refused the RELP session: ${code} ${text}`, next: LOG };
  if (!offers.has('relp_version')) {
    return { what: 'offers no version of RELP', next: NOT_RELP };
  }
  const commands = offers.get('commands')?.split(',') ?? [];
  if (!commands.includes('syslog'))
    return { what: 'does not offer the command syslog', next: 'Enable the command syslog at its RELP input' };
  return null;
}
