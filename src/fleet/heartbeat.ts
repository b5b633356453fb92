import { jetstream } from '@nats-io/jetstream';
import { type KV, Kvm } from '@nats-io/kv';
import type { NatsConnection } from '@nats-io/transport-node';
import type { Logger } from 'pino';
import { messageOf } from '../errors.js';
import { subjectToken } from '../formats/fleet.js';
import type { Beat } from './beat.js';
import { serversBucket } from './buckets.js';
import type { Part } from './link.js';

export interface HeartbeatOptions {
  readonly stream: string;
  readonly server: string;
  readonly every: number;
  readonly beat: () => Beat;
  readonly log: Logger;
}

/** Says to the fleet that this server is there, how it is, and what its clock shows. */
export class Heartbeat implements Part {
  private timer: NodeJS.Timeout | null = null;
  private sent = 0;
  private complained = false;

  constructor(private readonly options: HeartbeatOptions) {}

  async attach(nc: NatsConnection): Promise<void> {
    const { stream, every } = this.options;
    const kv = await new Kvm(jetstream(nc, { timeout: 5_000 })).open(serversBucket(stream), {
      bindOnly: true,
    });
    await this.send(kv);
    this.timer = setInterval(() => void this.send(kv), every);
  }

  detach(): void {
    if (this.timer !== null) clearInterval(this.timer);
    this.timer = null;
  }

  status() {
    return { heartbeats_total: this.sent };
  }

  private async send(kv: KV): Promise<void> {
    const { server, beat, log } = this.options;
    try {
      await kv.put(subjectToken(server), JSON.stringify(beat()));
      this.sent++;
      this.complained = false;
    } catch (error) {
      if (!this.complained) log.warn({ err: error }, `fleet: no heartbeat is taken: ${messageOf(error)}`);
      this.complained = true;
    }
  }
}
