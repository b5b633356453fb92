import { setTimeout as sleep } from 'node:timers/promises';
import type { NatsConnection } from '@nats-io/transport-node';
import type { Logger } from 'pino';
import type { NatsConfig } from '../config/nats.js';
import { AuditdError, type Diagnosis, explained } from '../errors.js';
import { backoff } from '../shipping/backoff.js';
import { connectNats } from '../sinks/jetstream/connection.js';
import { natsError } from '../sinks/jetstream/nats-error.js';

/** A connection counts as recovered once it has lasted so long: one that fails at once does not. */
const STABLE_MS = 3_000;

/** A user of the connection to the fleet. */
export interface Part {
  /** Starts with a new connection. If it throws, the connection is closed, and the next one attaches again. */
  attach(nc: NatsConnection): Promise<void>;
  /** The connection has ended, or is about to. */
  detach(): void;
  /** What does not work although there is a connection; null while all is well. */
  trouble?(): Diagnosis | null;
}

export interface LinkStatus {
  readonly connected: boolean;
  readonly server: string | null;
  readonly connects_total: number;
  readonly last_error: string | null;
  /** What does not work now, with the next step. */
  readonly troubles: readonly string[];
  /** The same, with the next step apart; missing from an older daemon. */
  readonly problems?: readonly Diagnosis[];
}

export interface FleetConnectionOptions {
  readonly nats: NatsConfig;
  readonly name: string;
  readonly parts: readonly Part[];
  readonly log: Logger;
}

/** The daemon's connection to its fleet. It reconnects without end, and logs once that it is down and once that it is back. */
export class FleetConnection {
  private nc: NatsConnection | null = null;
  private running: Promise<void> | null = null;
  private readonly ending = new AbortController();
  private connects = 0;
  private failures = 0;
  private lastError: Diagnosis | null = null;

  constructor(private readonly options: FleetConnectionOptions) {}

  start(): void {
    this.running ??= this.run();
  }

  async stop(): Promise<void> {
    this.ending.abort();
    await this.nc?.close();
    await this.running;
  }

  /** Closes the connection and opens another one. */
  restart(reason: Diagnosis): void {
    this.lastError = reason;
    void this.nc?.close();
  }

  status(): LinkStatus {
    const connected = this.nc !== null && !this.nc.isClosed();
    const problems = [
      ...this.ownProblems(connected),
      ...this.options.parts.flatMap((part) => part.trouble?.() ?? []),
    ];
    const { lastError } = this;
    return {
      connected,
      server: connected ? (this.nc?.getServer() ?? null) : null,
      connects_total: this.connects,
      last_error: lastError === null ? null : explained(lastError.what, lastError.next),
      troubles: problems.map(({ what, next }) => explained(what, next)),
      problems,
    };
  }

  private ownProblems(connected: boolean): Diagnosis[] {
    return connected && this.failures === 0
      ? []
      : [this.lastError ?? { what: 'not connected yet', next: null }];
  }

  private async run(): Promise<void> {
    const { signal } = this.ending;
    const { nats, name, parts } = this.options;
    while (!signal.aborted) {
      let stable: NodeJS.Timeout | null = null;
      try {
        const nc = await connectNats(nats, name, signal);
        this.nc = nc;
        if (signal.aborted) break;
        this.connects++;
        for (const part of parts) await part.attach(nc);
        stable = setTimeout(() => this.recovered(nc), STABLE_MS);
        const error = await nc.closed();
        if (error instanceof Error) throw error;
        if (!signal.aborted) {
          const { what, next } = this.lastError ?? { what: 'the connection was closed', next: null };
          throw new AuditdError('SINK_FAILED', what, { next });
        }
      } catch (error) {
        if (!signal.aborted) this.failed(natsError(this.nc?.getServer() ?? nats.servers.join(', '), error));
      } finally {
        if (stable !== null) clearTimeout(stable);
        for (const part of parts) part.detach();
        await this.nc?.close();
      }
      await sleep(backoff(Math.max(1, this.failures)), null, { signal }).catch(() => undefined);
    }
    await this.nc?.close();
  }

  private recovered(nc: NatsConnection): void {
    if (this.failures === 0) return;
    this.options.log.info({ retries: this.failures }, `fleet: connected to ${nc.getServer()} again`);
    this.failures = 0;
    this.lastError = null;
  }

  private failed(error: AuditdError): void {
    this.failures++;
    const { what, next } = error;
    this.lastError = { what, next };
    if (this.failures === 1)
      this.options.log.error({ err: error }, `fleet: ${explained(`${what}; reconnecting`, next)}`);
  }
}
