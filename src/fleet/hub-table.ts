/**
 * The hub's own audit table: the events of all servers, each once, and the events of one server in the order in which it wrote them.
 *
 * EXACTLY ONCE. This database holds the position in the stream, which moves in the transaction that writes the rows. An event that
 * arrives twice has the same event id both times. The id is unique here, and is remembered after retention has removed the row.
 *
 * ORDER. Each message names the one that its server published before it (of the same source and timeline). When JetStream changes its
 * leader in the middle of a batch, a message can get lost while later ones are stored. Its server sends it again, and it is then stored
 * after them. An event that arrives before its predecessor waits in `held`, in this database, until the predecessor arrives, or for ten
 * minutes.
 */
import { createHash } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync } from 'node:fs';
import { hubDatabase } from '../config/load.js';
import { AuditdError, messageOf } from '../errors.js';
import { type FleetEvent, parseFleet } from '../formats/fleet-message.js';
import type Database from '../load-sqlite.js';
import { createAuditTable } from '../recorder/recorder.js';
import { openOwn } from '../shipping/as-owner.js';
import { HUB_INDEXES, HUB_REVISIONS, HUB_SCHEMA, type HubStatements, hubStatements } from './hub-schema.js';

/** How long an event waits for its predecessor, by the clock of the stream, which is the same for each hub. */
export const HOLD_MS = 600_000;
/** Added where no later message shows the time of the stream: the predecessor would have arrived by then. */
export const SLACK_MS = 60_000;
/** Limit of the chains (server, source and timeline) that are kept in memory between transactions. */
const MOST_CHAINS = 10_000;

/** How far a stream has been read. */
export interface StreamPosition {
  /** When the stream was created, as NATS writes it: a new stream of the same name is read from its beginning. */
  readonly created: string;
  readonly sequence: number;
  /** Id of the message there, '' if it had none. */
  readonly messageId: string;
}

/** A parsed message. */
export interface Received {
  readonly subject: string;
  readonly body: string;
  readonly event: FleetEvent;
  /** When the stream stored it, ms since the epoch. */
  readonly time: number;
}

/** How many messages had which outcome. */
export interface InsertOutcomes {
  inserted: number;
  duplicates: number;
  /** Arrived before their predecessor, and wait for it. */
  held: number;
  /** Inserted without their predecessor, after the wait. */
  disordered: number;
}

export function noOutcomes(): InsertOutcomes {
  return { inserted: 0, duplicates: 0, held: 0, disordered: 0 };
}

export interface KnownServer {
  readonly server: string;
  readonly timeline: number;
  /** Its row id. */
  readonly row: number;
  /** Of that row, as its server wrote it. */
  readonly time: string | null;
}

interface Chain {
  readonly origin: string;
  readonly source: string;
  readonly timeline: number;
  last: number;
  /** When its last event arrived, ms since the epoch, and that event's own time, as its row has it. */
  seen: number;
  created: string | null;
  /** How many of its events are held. */
  waiting: number;
}

export class HubTable {
  readonly db: Database;
  readonly path: string;
  private chains = new Map<string, Chain>();
  private readonly changed = new Set<Chain>();
  /** Whether retention has ever removed a row, as this transaction sees it. */
  private anyRemoved = false;
  private readonly sql: HubStatements;

  /** @throws AuditdError `STATE_UNUSABLE` */
  constructor(directory: string) {
    this.path = hubDatabase(directory);
    const fresh = !existsSync(this.path);
    try {
      mkdirSync(directory, { recursive: true, mode: 0o750 });
      this.db = openOwn(directory, 'hub.db', { timeout: 5_000 });
      if (fresh) chmodSync(this.path, 0o640);
      this.db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL');
      this.db.pragma('cache_size = -65536');
      // 16 MB: pages of the indexes change many times before a checkpoint has to write them into the database.
      this.db.pragma('wal_autocheckpoint = 4000');
      this.db.exec(HUB_SCHEMA);
      this.addRevisions();
      this.db.exec(HUB_INDEXES);
      createAuditTable(this.db); // the indexes for queries
      this.sql = hubStatements(this.db);
    } catch (error) {
      if (error instanceof AuditdError) throw error;
      throw new AuditdError('STATE_UNUSABLE', `can't use ${this.path}: ${messageOf(error)}`, {
        next: 'If it is damaged, move it away: the hub fills it again from the stream, as far back as that goes',
        cause: error,
      });
    }
  }

  /** Tables of earlier releases lack the columns for versions of edited rows. */
  private addRevisions(): void {
    const names = this.db.prepare("SELECT name FROM pragma_table_info('audit_log')").pluck().all();
    for (const column of HUB_REVISIONS)
      if (!names.includes(column.split(' ')[0])) this.db.exec(`ALTER TABLE audit_log ADD COLUMN ${column}`);
  }

  position(stream: string): StreamPosition | null {
    return (this.sql.position.get(stream) as StreamPosition | undefined) ?? null;
  }

  /** The origin's id of a row; null if there is no such row. */
  eventIdOf(rowId: bigint | number): string | null {
    return (this.sql.eventId.get(rowId) as string | undefined) ?? null;
  }

  /** The row at or below an id: its event id. */
  eventIdUpTo(rowId: number): string | null {
    return (this.sql.eventIdUpTo.get(rowId) as string | undefined) ?? null;
  }

  rowOf(eventId: string): number | null {
    return (this.sql.rowOf.get(eventId) as number | undefined) ?? null;
  }

  /** Of each server: when its last event of Postern arrived, and that event's own time. */
  lastEvents(): ReadonlyArray<{
    readonly origin: string;
    readonly seen: number;
    readonly created: string | null;
  }> {
    return this.sql.lastEvents.all() as Array<{ origin: string; seen: number; created: string | null }>;
  }

  /** Of each server, the last of its own rows that arrived: a replay has to begin after it. @param limit number of servers */
  knownServers(limit: number): readonly KnownServer[] {
    return this.sql.known.all(limit) as KnownServer[];
  }

  /**
   * Messages were lost, so later events must not wait for them. Inserts all held events, and accepts the next event of each
   * server without its predecessor.
   *
   * @param to where to continue reading, if not after the last row
   */
  forgetOrder(stream: string, to: StreamPosition | null): InsertOutcomes {
    const outcomes = noOutcomes();
    return this.inTransaction(() => {
      this.insertOverdue(Number.MAX_SAFE_INTEGER, outcomes);
      this.saveChains();
      this.sql.unchain.run();
      this.chains = new Map();
      if (to !== null) this.moveTo(stream, to);
      return outcomes;
    });
  }

  private moveTo(stream: string, { created, sequence, messageId }: StreamPosition): void {
    this.sql.setPosition.run(stream, created, sequence, messageId);
  }

  get heldCount(): number {
    return this.sql.heldCount.get() as number;
  }

  /** Writes events and the position of the last one in the stream, all or nothing. */
  insertBatch(
    messages: readonly Received[],
    stream: string,
    position: StreamPosition,
    now: number,
  ): InsertOutcomes {
    return this.inTransaction(() => {
      const outcomes = noOutcomes();
      let oldest = this.sql.oldestHeld.get() as number | null;
      for (const message of messages) {
        // Before the message, so that the rows have the same order at each hub: one hub continues after a row of the other.
        if (oldest !== null && oldest <= message.time - HOLD_MS) {
          this.insertOverdue(message.time, outcomes);
          oldest = this.sql.oldestHeld.get() as number | null;
        }
        const { held } = outcomes;
        this.add(message, now, outcomes);
        if (outcomes.held > held) oldest ??= message.time;
      }
      this.moveTo(stream, position);
      return outcomes;
    });
  }

  /** Stops waiting for predecessors that do not arrive. To be called every few seconds. */
  expire(now: number): InsertOutcomes {
    const outcomes = noOutcomes();
    const oldest = this.sql.oldestHeld.get() as number | null;
    if (oldest === null || oldest > now - SLACK_MS - HOLD_MS) return outcomes;
    return this.inTransaction(() => {
      this.insertOverdue(now - SLACK_MS, outcomes);
      return outcomes;
    });
  }

  close(): void {
    if (this.db.open) this.db.close();
  }

  private inTransaction<T>(work: () => T): T {
    try {
      return this.db
        .transaction(() => {
          this.anyRemoved = this.sql.anyRemoved.get() === 1;
          const result = work();
          this.saveChains();
          return result;
        })
        .immediate(); // the purge writes too: a deferred transaction could fail on its older snapshot
    } catch (error) {
      this.chains = new Map(); // they may describe rows that were not written
      this.changed.clear();
      throw error;
    }
  }

  private saveChains(): void {
    for (const { origin, source, timeline, last, seen, created } of this.changed)
      this.sql.setLast.run(origin, source, timeline, last, seen, created);
    this.changed.clear();
    if (this.chains.size > MOST_CHAINS) this.chains = new Map();
  }

  private add(message: Received, now: number, outcomes: InsertOutcomes): void {
    const { event } = message;
    const chain = this.chainOf(event);
    if (event.after > chain.last && chain.last > 0) {
      this.hold(chain, message, outcomes);
      return;
    }
    this.insert(event, outcomes);
    chain.seen = now;
    chain.created = event.columns[0] === null ? null : String(event.columns[0]);
    this.advance(chain, event.sequence);
    if (chain.waiting > 0) this.insertSuccessors(chain, outcomes);
  }

  private hold(chain: Chain, { event, subject, body, time }: Received, outcomes: InsertOutcomes): void {
    const { origin, source, timeline, sequence, after } = event;
    const { hold, heldBody } = this.sql;
    const { changes } = hold.run(origin, source, timeline, sequence, after, time, subject, body);
    chain.waiting += changes;
    outcomes.held += changes;
    if (changes > 0) return;
    const known = parseFleet(subject, heldBody.get(origin, source, timeline, sequence) as string);
    if (typeof known !== 'string' && known.id === event.id) outcomes.duplicates++;
    else this.insert(event, outcomes); // two servers have one name, and the other one wrote that row
  }

  private insert(event: FleetEvent, outcomes: InsertOutcomes): void {
    const { origin, source, timeline, sequence, columns, revision } = event;
    const { insert, isRemoved, originOf } = this.sql;
    const isNew = (id: string) =>
      !(this.anyRemoved && isRemoved.get(id) !== undefined) &&
      insert.run(
        ...columns,
        id,
        origin,
        source,
        timeline,
        sequence,
        revision?.of ?? null,
        revision?.action ?? null,
      ).changes > 0;
    if (isNew(event.id)) outcomes.inserted++;
    // Another server's row has this id. A forged row must not keep the genuine one out.
    else if ((originOf.get(event.id) ?? origin) !== origin && isNew(idWithOrigin(event))) outcomes.inserted++;
    else outcomes.duplicates++;
  }

  private advance(chain: Chain, sequence: number): void {
    chain.last = Math.max(chain.last, sequence);
    this.changed.add(chain);
  }

  /** Inserts the held events whose predecessors have arrived now. */
  private insertSuccessors(chain: Chain, outcomes: InsertOutcomes): void {
    for (;;) {
      const next = this.sql.next.get(chain.origin, chain.source, chain.timeline) as Held | undefined;
      if (next === undefined || next.after > chain.last) return;
      this.insertHeld(chain, next, outcomes);
    }
  }

  private insertHeld(chain: Chain, { subject, body, sequence }: Held, outcomes: InsertOutcomes): void {
    const event = parseFleet(subject, body);
    if (typeof event !== 'string') this.insert(event, outcomes);
    this.advance(chain, sequence);
    this.sql.unhold.run(chain.origin, chain.source, chain.timeline, sequence);
    chain.waiting--;
  }

  /** Inserts the events that have waited too long at this time, in their order. */
  private insertOverdue(now: number, outcomes: InsertOutcomes): void {
    const oldest = this.sql.oldestHeld.get() as number | null;
    if (oldest === null || oldest > now - HOLD_MS) return;
    for (;;) {
      const key = this.sql.late.get(now - HOLD_MS) as
        | Pick<Chain, 'origin' | 'source' | 'timeline'>
        | undefined;
      if (key === undefined) return;
      const next = this.sql.next.get(key.origin, key.source, key.timeline) as Held;
      const chain = this.chainOf(key);
      outcomes.disordered++;
      this.insertHeld(chain, next, outcomes);
      this.insertSuccessors(chain, outcomes);
    }
  }

  private chainOf({ origin, source, timeline }: Pick<Chain, 'origin' | 'source' | 'timeline'>): Chain {
    const key = `${source}/${timeline}/${origin}`;
    const known = this.chains.get(key);
    if (known !== undefined) return known;
    const { last, seen, created } = (this.sql.chain.get(origin, source, timeline) as
      | Pick<Chain, 'last' | 'seen' | 'created'>
      | undefined) ?? { last: 0, seen: 0, created: null };
    const waiting = this.sql.heldOf.get(origin, source, timeline) as number;
    const chain: Chain = { origin, source, timeline, last, seen, created, waiting };
    this.chains.set(key, chain);
    return chain;
  }
}

function idWithOrigin({ id, origin }: FleetEvent): string {
  return createHash('sha256').update(`${origin}\0${id}`).digest('hex').slice(0, 32);
}

interface Held {
  readonly sequence: number;
  readonly after: number;
  readonly subject: string;
  readonly body: string;
}
