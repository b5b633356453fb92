import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createClassifier } from '../../src/audit/catalog.js';
import type { AuditEvent } from '../../src/audit/event.js';
import { config as schema } from '../../src/config/schema.js';
import { HubTable, type Received } from '../../src/fleet/hub-table.js';
import { formatFleet, parseFleet, subjectOf, subjectToken } from '../../src/formats/fleet-message.js';
import Database from '../../src/load-sqlite.js';
import { QueryEngine } from '../../src/query/engine.js';
import type { Entry } from '../../src/query/entry.js';
import { EVERYTHING, type Filter } from '../../src/query/filter.js';
import { createOwnSource } from '../../src/source/auditd-source.js';
import { exported } from '../query/tables.js';
import { ShippingRig } from '../shipping/shipping-fixture.js';

/** The messages of a server: its rows in their first version, and the versions of edited rows. */
class Server {
  readonly rig = new ShippingRig();
  private readonly first: AuditEvent[] = [];

  constructor(readonly name: string) {}

  async write(rows: number): Promise<void> {
    this.rig.append(rows);
    await this.rig.settle();
    const from = this.first.length + 1;
    for (let id = from; id < from + rows; id++) this.first.push(this.row(this.rig.database, 'postern', id));
  }

  async edit(id: number, action: string): Promise<string> {
    const details = this.rig.change(id, action);
    await this.rig.settle();
    return details;
  }

  rows(): Received[] {
    return this.first.map((event, at) => this.message(event, at));
  }

  versions(): Received[] {
    const db = new Database(this.rig.stateDatabase);
    const ids = db.prepare('SELECT id FROM audit_log ORDER BY id').pluck().all() as number[];
    db.close();
    return ids.map((id, at) =>
      this.message(this.row(this.rig.stateDatabase, 'auditd', id), ids[at - 1] ?? 0),
    );
  }

  private row(path: string, name: 'postern' | 'auditd', id: number): AuditEvent {
    const db = new Database(path);
    try {
      const event = createOwnSource({
        name,
        db,
        table: 'audit_log',
        sourceId: Buffer.from(this.name.padEnd(16)).toString('hex'),
        classify: createClassifier(),
        redact: (details) => details,
        clock: Date.now,
        server: this.name,
      }).row(id, 1);
      if (event === null) throw new Error(`no row ${id}`);
      void event.details;
      return event;
    } finally {
      db.close();
    }
  }

  private message(event: AuditEvent, after: number): Received {
    const subject = subjectOf(subjectToken(this.name), event);
    const { body } = formatFleet(event, this.name, after, 2 ** 20);
    const parsed = parseFleet(subject, body);
    if (typeof parsed === 'string') throw new Error(parsed);
    return { subject, body, event: parsed, time: 0 };
  }
}

let [a, b]: Server[] = [];
let hub: HubTable;
let engine: QueryEngine;
let directory: string;

beforeEach(async () => {
  [a, b] = [new Server('a'), new Server('b')];
  for (const { rig } of [a, b]) await rig.start();
  directory = join(a.rig.directory, 'hub');
  hub = new HubTable(directory);
  const { source, redact } = schema.parse({});
  engine = new QueryEngine({
    ...source,
    database: hub.path,
    table: 'audit_log',
    redact,
    stateDatabase: join(directory, 'state.db'),
    server: 'hub',
    isHub: true,
  });
});
afterEach(async () => {
  engine.close();
  hub.close();
  rmSync(directory, { recursive: true });
  for (const one of [a, b]) await one?.rig.close();
});

function take(...messages: readonly Received[]): void {
  hub.insertBatch(messages, 's', { created: 'then', sequence: 1, messageId: 'm' }, 0);
}

function page(filter: Partial<Filter> = {}) {
  const request = { page: 1, limit: 50, cursor: null, count: 'all', timeLimit: 60_000 } as const;
  return engine.page({ ...request, filter: { ...EVERYTHING, ...filter } });
}

const contents = (entries: readonly Entry[] = []) => entries.map(({ details }) => JSON.stringify(details));

describe("rows of a hub's table that were edited at their servers", () => {
  it('edited rows count once, in their first version, each with the versions of its own server', async () => {
    const [one, other] = [a, b] as [Server, Server];
    await one.write(3);
    await other.write(3);
    const ofOne = [await one.edit(2, 'auth.login_failure'), await one.edit(2, 'auth.login_failure')];
    const ofOther = [await other.edit(2, 'update')];
    // The source of the versions may be read first.
    take(...other.versions(), ...one.rows(), ...one.versions(), ...other.rows());
    const { entries, total } = page();
    expect([total, entries.length, engine.stats(EVERYTHING, 10, 60_000).total]).toEqual([6, 6, 6]);
    expect(page({ action: 'auth.login_failure' }).total).toBe(0);
    const edited = entries.filter(({ versions }) => versions !== undefined);
    expect(new Map(edited.map(({ server, versions }) => [server, contents(versions)]))).toEqual(
      new Map([
        ['a', ofOne],
        ['b', ofOther],
      ]),
    );
    const [first] = edited.filter(({ server }) => server === 'a');
    expect(first?.versions?.map(({ action }) => action)).toEqual(['auth.login_failure', 'daemon.row_edited']);
    expect(exported(engine, EVERYTHING).trim().split('\n').length).toBe(6);
    expect(page({ action: 'daemon.row_edited' }).total).toBe(2);
  });

  it('edited rows that were deleted are shown by their versions, separately for each history of a server', async () => {
    const [one] = [a] as [Server];
    await one.write(2);
    const first = await one.edit(1, 'update');
    const rows = one.rows();
    take(...rows, ...one.versions());
    const again = { ...(rows[0] as Received).event, timeline: 2, id: 'e'.repeat(32) };
    take({ ...(rows[0] as Received), event: again });
    expect(page().entries.map(({ id, versions }) => [id, contents(versions)])).toEqual([
      ['postern:4', []],
      ['postern:2', []],
      ['postern:1', [first]],
    ]);
    hub.db.exec('DELETE FROM audit_log WHERE origin_id = 1 AND revision_of IS NULL');
    expect(page().entries.map(({ id }) => id)).toEqual(['postern:3', 'postern:2']);
    expect(engine.stats(EVERYTHING, 10, 60_000).total).toBe(2);
  });
});
