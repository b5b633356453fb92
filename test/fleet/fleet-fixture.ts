import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createRedactor } from '../../src/audit/redaction.js';
import { troubles } from '../../src/commands/status/troubles.js';
import type { DaemonStatus } from '../../src/control/status.js';
import { explained } from '../../src/errors.js';
import Database from '../../src/load-sqlite.js';
import { createAuditTable, createRecorder, type Recorder } from '../../src/recorder/recorder.js';
import { DaemonProcess } from '../support/daemon-process.js';

const COLUMNS =
  'created_at, user_id, user_name, user_email, action, resource_type, resource_id, details, ip_address, server';

/** A daemon of a fleet. */
export class FleetDaemon extends DaemonProcess {
  constructor(name: string, config: string, wrapper: readonly string[] = []) {
    super(name, wrapper);
    writeFileSync(
      this.configPath,
      `server: ${JSON.stringify(name)}
state: ${this.directory}/state
control: ${this.control}
min_free: 1M
api: { enabled: false }
${config.replaceAll('$DIR', this.directory)}
`,
    );
  }
}

/** A server with a Postern whose table this process writes. */
export class Member extends FleetDaemon {
  readonly db: Database;
  readonly recorder: Recorder;

  constructor(
    name: string,
    servers: readonly string[],
    more: { sinks?: string; extra?: string; login?: string; wrap?: readonly string[] } = {},
  ) {
    super(
      name,
      `source: { database: $DIR/postern/posternproxy.db }
sinks:
  stream: { type: jetstream, servers: ${JSON.stringify(servers)}, start: beginning, connect_timeout: 1s${more.login === undefined ? '' : `, ${more.login}`} }
${more.sinks ?? ''}
${more.extra ?? ''}
fail2ban: { bans: $DIR/bans/bans.log }`,
      more.wrap,
    );
    mkdirSync(join(this.directory, 'postern'));
    this.db = new Database(join(this.directory, 'postern/posternproxy.db'));
    this.db.pragma('journal_mode = WAL');
    createAuditTable(this.db);
    this.recorder = createRecorder(this.db);
  }

  /** Rows of several kinds in one commit, secrets among them. */
  append(count: number): void {
    this.db.transaction(() => {
      for (let n = 0; n < count; n++) {
        if (n % 5 === 0)
          this.db
            .prepare(`INSERT INTO audit_log (${COLUMNS}) VALUES (?, ?, ?, NULL, ?, ?, ?, ?, ?, NULL)`)
            .run(
              '2026-11-20 10:00:00',
              n % 2 === 0 ? n : `u${n}`,
              `Jörg "${n}"\n`,
              'odd.thing',
              'widget',
              String(n),
              `{"password":"hunter2","n":${n},"x":"${Math.random()}"}`,
              '198.51.100.7:443',
            );
        else
          this.recorder.record({
            action: 'proxy_host.update',
            resourceId: n,
            user: { id: n, name: 'jan' },
            address: '192.0.2.7',
            details: { n: `${this.name}-${n}-${Math.random()}` },
          });
      }
    })();
  }

  /** The rows that the hub must have: secrets masked, and the server's name filled in where it is empty. */
  expected(): string[] {
    const redact = createRedactor({ keys: [], mode: 'mask' });
    const rows = this.db
      .prepare(`SELECT id, ${COLUMNS} FROM audit_log ORDER BY id`)
      .safeIntegers()
      .all() as Array<Record<string, unknown>>;
    return rows.map((row) =>
      rowText({ ...row, details: redact(row.details as string | null), server: row.server ?? this.name }),
    );
  }

  override async close(): Promise<void> {
    this.db.close();
    await super.close();
  }
}

export class Hub extends FleetDaemon {
  constructor(
    name: string,
    servers: readonly string[],
    more: { sinks?: string; extra?: string; login?: string; wrap?: readonly string[] } = {},
  ) {
    super(
      name,
      `fleet: { role: hub, servers: ${JSON.stringify(servers)}, connect_timeout: 1s, silent_after: 5s${more.login === undefined ? '' : `, ${more.login}`} }
sinks:
${more.sinks ?? '  audit: { type: file, directory: $DIR/audit }'}
${more.extra ?? ''}
fail2ban: { bans: $DIR/bans/bans.log }`,
      more.wrap,
    );
  }

  /** Rows of one server, with its own row ids, in the order of the hub's table. */
  rowsOf(server: string): string[] {
    const db = new Database(join(this.directory, 'state/hub.db'), { readonly: true });
    try {
      const rows = db
        .prepare(
          `SELECT origin_id AS id, ${COLUMNS} FROM audit_log WHERE origin = ? AND origin_source = 'postern' ORDER BY id`,
        )
        .safeIntegers()
        .all(server) as Array<Record<string, unknown>>;
      return rows.map(rowText);
    } finally {
      db.close();
    }
  }

  countOf(server: string): number {
    try {
      const db = new Database(join(this.directory, 'state/hub.db'), { readonly: true });
      try {
        return db
          .prepare("SELECT count(*) FROM audit_log WHERE origin = ? AND origin_source = 'postern'")
          .pluck()
          .get(server) as number;
      } finally {
        db.close();
      }
    } catch {
      return 0;
    }
  }

  lines(): Array<{ event: { id: string; action: string; sequence: number }; postern: { server: string } }> {
    const text = readFileSync(join(this.directory, 'audit/current.log'), 'utf8');
    return text
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line));
  }
}

/** What needs attention, as one text. */
export function troublesOf(status: DaemonStatus): string {
  return troubles(status)
    .map(({ what, next }) => explained(what, next))
    .join('\n');
}

function rowText(row: Readonly<Record<string, unknown>>): string {
  return JSON.stringify(row, (_, value: unknown) => (typeof value === 'bigint' ? `${value}n` : value));
}
