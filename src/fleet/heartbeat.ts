import { jetstream } from '@nats-io/jetstream';
import { type KV, Kvm } from '@nats-io/kv';
import type { NatsConnection } from '@nats-io/transport-node';
import type { Logger } from 'pino';
import { type Diagnosis, explained, messageOf } from '../errors.js';
import { subjectToken } from '../formats/fleet-message.js';
import { natsError } from '../sinks/jetstream/nats-error.js';
import { type PeriodicTask, ticker } from '../ticker.js';
import type { Part } from './fleet-connection.js';
import type { Beat } from './heartbeat-message.js';
import { serversBucket } from './kv-buckets.js';

/** The name counts as taken after so many heartbeats in a row that met a foreign entry, and as free after so many that met their own. */
const NAME_TAKEN_AFTER = 2;
const NAME_FREE_AFTER = 3;

export interface HeartbeatOptions {
  readonly stream: string;
  readonly server: string;
  readonly every: number;
  readonly beat: () => Beat;
  /** Called once when another server has the same name. */
  readonly onNameTaken: () => void;
  readonly log: Logger;
}

/**
 * Publishes that this server is alive, its state and its clock. Each heartbeat replaces only the server's own previous one. So two
 * servers with one name notice each other, without permission to read anything.
 */
export class Heartbeat implements Part {
  private periodic: PeriodicTask | null = null;
  private problem: Diagnosis | null = null;
  /** The revision of our last entry; null if it is unknown: the next heartbeat then replaces any entry. */
  private revision: number | null = null;
  private foreignInRow = 0;
  private ownInRow = 0;
  private isNameTaken = false;

  constructor(private readonly options: HeartbeatOptions) {}

  async attach(nc: NatsConnection): Promise<void> {
    const { stream, every } = this.options;
    const kv = await new Kvm(jetstream(nc, { timeout: 5_000 })).open(serversBucket(stream), {
      bindOnly: true,
    });
    this.revision = null;
    await this.send(kv);
    this.periodic = ticker.every(every, () => void this.send(kv));
  }

  detach(): void {
    this.periodic?.close();
    this.periodic = null;
  }

  trouble(): Diagnosis | null {
    const { server } = this.options;
    if (!this.isNameTaken) return this.problem;
    return {
      what: `another server is named ${server}, too`,
      next: 'Give each server a name of its own (server: in the configuration)',
    };
  }

  private async send(kv: KV): Promise<void> {
    const { server, stream, beat, log } = this.options;
    const [key, text, revision] = [subjectToken(server), JSON.stringify(beat()), this.revision];
    this.revision = null; // without an answer it is unknown whether the entry was stored
    try {
      if (revision === null) this.revision = await kv.put(key, text);
      else {
        this.revision = await kv.update(key, text, revision);
        this.countOwnEntry();
      }
      this.problem = null;
    } catch (error) {
      if (revision !== null && /wrong last sequence/i.test(messageOf(error))) {
        this.countForeignEntry();
        await this.send(kv);
        return;
      }
      const { what, next } = natsError(serversBucket(stream), error);
      const trouble = { what: `can't send a heartbeat: ${what}`, next };
      if (this.problem === null) log.warn({ err: error }, `fleet: ${explained(trouble.what, next)}`);
      this.problem = trouble;
    }
  }

  private countForeignEntry(): void {
    this.ownInRow = 0;
    this.foreignInRow++;
    if (this.isNameTaken || this.foreignInRow < NAME_TAKEN_AFTER) return; // a single foreign entry may be an administrator's
    this.isNameTaken = true;
    this.options.onNameTaken();
  }

  private countOwnEntry(): void {
    this.foreignInRow = 0;
    this.ownInRow++;
    if (this.ownInRow >= NAME_FREE_AFTER) this.isNameTaken = false;
  }
}
