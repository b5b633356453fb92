import type { Logger } from 'pino';
import type { SourceName } from '../audit/event.js';
import type { LoadedConfig } from '../config/load.js';
import { subjectToken } from '../formats/fleet-message.js';
import type { NewEntry } from '../recorder/recorder.js';
import type { ShipperStatus } from '../shipping/shipper.js';
import type { State } from '../shipping/state.js';
import { createOwnSource, type OwnSource, type OwnSourceOptions } from '../source/auditd-source.js';
import { VERSION } from '../version.js';
import { FleetConnection, type Part } from './fleet-connection.js';
import { type FleetStatus, serversOf } from './fleet-status.js';
import { Heartbeat } from './heartbeat.js';
import type { Beat } from './heartbeat-message.js';
import { HubConsumer } from './hub-consumer.js';
import { HubTable } from './hub-table.js';
import { Lease } from './lease.js';
import { fleetConnection } from './nats-config.js';
import { RemoteFailureTable } from './remote-failure-table.js';
import { RemoteFailures } from './remote-failures.js';
import { type Member, ServerRegistry } from './server-registry.js';
import { SilentServersState } from './silent-servers-state.js';
import { moveStandbyCursors, positionsOf } from './standby-positions.js';

/** Options that all sources share. */
type SourceParts = Pick<OwnSourceOptions, 'sourceId' | 'classify' | 'redact' | 'clock' | 'server'> & {
  readonly historyOf: (source: SourceName) => NonNullable<OwnSourceOptions['history']>;
};

export interface FleetOptions {
  readonly config: LoadedConfig['config'];
  readonly state: State;
  readonly sources: SourceParts;
  readonly shipped: () => ShipperStatus | null;
  readonly record: (entry: NewEntry) => void;
  readonly clock: () => number;
  readonly log: Logger;
}

export class Fleet {
  /** On a hub, the source that replaces Postern's table. */
  readonly hubSource: OwnSource | null = null;
  /** Other servers' failed logins, if they count here. */
  readonly failureSource: OwnSource | null = null;
  private readonly token: string;
  private readonly link: FleetConnection;
  private readonly table: HubTable | null = null;
  private readonly consumer: HubConsumer | null = null;
  private readonly lease: Lease | null = null;
  private readonly members: ServerRegistry | null = null;
  private readonly failures: RemoteFailures | null = null;

  /** @throws AuditdError `STATE_UNUSABLE` if the hub's table can't be opened */
  constructor(private readonly options: FleetOptions) {
    const { config, log } = options;
    const { fleet, server } = config;
    const nats = fleetConnection(config);
    if (nats === null) throw new Error('a fleet takes a connection');
    const { stream } = nats;
    this.token = subjectToken(server);
    const parts: Part[] = [];
    if (fleet.bans === 'subscribe') {
      this.failureSource = this.ownSource('fleet', RemoteFailureTable.table);
      this.failures = this.createRemoteFailures(() => this.failureSource?.notify());
      parts.push(this.failures);
    }
    if (fleet.role === 'hub') {
      this.table = new HubTable(config.state);
      this.hubSource = this.ownSource('postern', 'audit_log', this.table);
      this.consumer = this.createConsumer(stream, this.table);
      this.lease = this.createLease(stream, this.table);
      this.members = this.createRegistry(stream);
      parts.push(this.consumer, this.lease, this.members);
    }
    const every = fleet.heartbeat;
    const onNameTaken = () => {
      log.error(
        { server },
        `another server of the fleet is named ${server}, too. Give each server a name of its own`,
      );
      options.record({ action: 'daemon.server_name_taken', details: { server } });
    };
    parts.push(new Heartbeat({ stream, server, every, beat: () => this.beat(), onNameTaken, log }));
    this.link = new FleetConnection({ nats, name: `postern-auditd ${server} ${fleet.role}`, parts, log });
  }

  /** Whether sinks that ship to other hosts may do so now: of two hubs, only one may. */
  readonly isActive = (): boolean => this.lease === null || this.lease.held;

  start(): void {
    this.link.start();
  }

  /** To be called after the sinks are closed. */
  async stop(): Promise<void> {
    await this.lease?.release();
    await this.link.stop();
    this.table?.close();
  }

  status(): FleetStatus {
    const { role } = this.options.config.fleet;
    return {
      role,
      link: this.link.status(),
      bans: this.failures?.status() ?? null,
      hub: this.consumer?.status() ?? null,
      lease: this.lease?.status() ?? null,
      servers:
        this.table === null || this.members === null
          ? []
          : serversOf(this.members.all(), this.table.lastEvents()),
    };
  }

  private ownSource(name: SourceName, table: string, hub: HubTable | null = null): OwnSource {
    const { state, sources } = this.options;
    const failures = hub === null ? new RemoteFailureTable(state.db) : null;
    return createOwnSource({
      ...sources,
      name,
      db: hub?.db ?? state.db,
      place: hub?.path ?? 'state.db',
      table,
      // A compromised server may write the hub's own name into its rows: they are not failed logins here.
      foreign: hub !== null,
      history: sources.historyOf(name),
      idOf: (row) => hub?.eventIdOf(row) ?? failures?.eventIdOf(row) ?? null,
    });
  }

  private createRemoteFailures(onRows: () => void): RemoteFailures {
    const { config, state, clock, log, record } = this.options;
    const { fleet, fail2ban } = config;
    return new RemoteFailures({
      state,
      token: this.token,
      neverBan: [...fail2ban.never_ban, ...fleet.never_ban],
      limit: { ...fleet.limit, windowMs: fail2ban.find_time },
      clock,
      log,
      onRows,
      onLimit: (origin, reason) => {
        log.warn(
          { origin, reason },
          `server ${origin} has reached fleet.limit: its further failed logins are not counted here`,
        );
        record({ action: 'daemon.fleet_limit', details: { origin, reason, ...fleet.limit } });
      },
    });
  }

  private createConsumer(stream: string, table: HubTable): HubConsumer {
    const { clock, log, record } = this.options;
    return new HubConsumer({
      stream,
      table,
      clock,
      log,
      onRows: () => this.hubSource?.notify(),
      onGap: (details) => record({ action: 'daemon.fleet_gap', details }),
      onFailed: (reason) => this.link.restart(reason),
    });
  }

  private createLease(stream: string, table: HubTable): Lease {
    const { config, state, clock, log, record, shipped } = this.options;
    const onward = onwardSinks(config);
    return new Lease({
      stream,
      server: config.server,
      clock,
      log,
      positions: () => positionsOf(table, shipped()?.sinks ?? {}, onward),
      onPositions: (positions) => moveStandbyCursors(table, state, positions, onward),
      onTaken: () => {
        log.info('this hub took the lease: it now ships to other hosts');
        record({ action: 'daemon.lease_taken' });
      },
      onLost: () => {
        log.warn('this hub lost the lease: it is on standby');
        record({ action: 'daemon.lease_lost' });
      },
    });
  }

  private createRegistry(stream: string): ServerRegistry {
    const { config, state, clock, log, record } = this.options;
    const note = new SilentServersState(state, log);
    const keep = () => {
      const silent = this.members?.all().filter((member) => member.silent) ?? [];
      note.save(silent.map(({ token }) => token));
    };
    const report = (action: string, { beat, silentFor }: Member, what: string) => {
      keep();
      log.warn({ server: beat.server, silent_ms: silentFor }, `server ${beat.server} ${what}`);
      if (this.isActive())
        record({ action, server: beat.server, details: { server: beat.server, silent_ms: silentFor } });
    };
    return new ServerRegistry({
      stream,
      silentAfter: config.fleet.silent_after,
      clock,
      silentBefore: note.read(),
      log,
      onForgotten: keep,
      onSilent: (member) => report('daemon.server_silent', member, 'sends no heartbeats any more'),
      onBack: (member) => report('daemon.server_back', member, 'sends heartbeats again'),
    });
  }

  private beat(): Beat {
    const { config, clock, shipped } = this.options;
    const now = shipped();
    const postern = now?.sources.postern;
    const streams = Object.entries(config.sinks).flatMap(([name, { type }]) =>
      type === 'jetstream' ? [now?.sinks[name]] : [],
    );
    return {
      v: 1,
      server: config.server,
      role: config.fleet.role,
      version: VERSION,
      time: clock(),
      state: postern?.state ?? 'starting',
      rows: postern?.maxId ?? 0,
      lag_events: Math.max(0, ...streams.map((sink) => sink?.lag_events ?? 0)),
      lag_seconds: Math.max(0, ...streams.map((sink) => sink?.lag_seconds ?? 0)),
    };
  }
}

/** Names of the sinks that ship to other hosts. Files are local, so both hubs write them. */
function onwardSinks({ sinks }: LoadedConfig['config']): string[] {
  return Object.entries(sinks)
    .filter(([, sink]) => !('directory' in sink))
    .map(([name]) => name);
}
