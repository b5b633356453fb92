import type { Msg, NatsConnection } from '@nats-io/transport-node';
import type { Logger } from 'pino';
import { type Diagnosis, explained, messageOf } from '../errors.js';

const RETRY_MS = 10_000;

/** A core NATS subscription that is retried while permission is denied: it may be granted without a new connection. Logs the denial once. */
export class RetryingSubscription {
  private nc: NatsConnection | null = null;
  private timer: NodeJS.Timeout | null = null;
  private refusal: Diagnosis | null = null;

  constructor(
    private readonly subject: string,
    private readonly content: string,
    private readonly log: Logger,
    private readonly onMessage: (message: Msg) => void,
  ) {}

  attach(nc: NatsConnection): void {
    this.nc = nc;
    const subscription = nc.subscribe(this.subject, {
      callback: (error, message) => {
        if (error === null) this.onMessage(message);
        else this.refused(nc, error);
      },
    });
    // A denial arrives before the answer to this.
    nc.flush().then(
      () => {
        if (!subscription.isClosed()) this.refusal = null;
      },
      () => undefined, // the connection has ended
    );
  }

  detach(): void {
    this.nc = null;
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
  }

  /** Why no messages arrive; null while they may. */
  trouble(): Diagnosis | null {
    return this.refusal;
  }

  private refused(nc: NatsConnection, error: Error): void {
    if (nc !== this.nc || nc.isClosed()) return;
    const what = `can't subscribe to ${this.content}: ${messageOf(error)}`;
    const next = 'Give this user the permissions of docs/guide/FLEET.md';
    if (this.refusal === null) this.log.error({ err: error }, `fleet: ${explained(what, next)}`);
    this.refusal = { what, next };
    this.timer = setTimeout(() => nc === this.nc && !nc.isClosed() && this.attach(nc), RETRY_MS);
  }
}
