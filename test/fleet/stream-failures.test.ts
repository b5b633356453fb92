import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { gunzipSync } from 'node:zlib';
import { jetstream } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { controlRequest } from '../../src/control/client.js';
import type { DaemonStatus } from '../../src/control/status.js';
import { initFleet } from '../../src/fleet/init.js';
import Database from '../../src/load-sqlite.js';
import type { ReplayStatus } from '../../src/shipping/replay.js';
import { STREAM_DEFAULTS } from '../../src/sinks/jetstream/stream.js';
import { CLI } from '../support/daemon-process.js';
import { type FleetDaemon, Hub, Member, troublesOf } from './fleet-fixture.js';
import { hasNats, Nats } from './nats.js';

if (!hasNats() && process.env.CI !== undefined) throw new Error('nats-server is not installed');

const STREAM = 'POSTERN_AUDIT';
const asRoot = process.getuid?.() === 0;

/** The steps build on each other, with one stream, one server and one hub. Each ends with the rows that the hub must have. */
describe.skipIf(!hasNats())('what breaks in a fleet', () => {
  let nats: Nats;
  let member: Member;
  let hub: Hub;
  const closing: Array<{ close(): Promise<void> }> = [];

  const init = () =>
    initFleet(
      { servers: nats.urls, stream: STREAM, connect_timeout: 5_000 },
      { ...STREAM_DEFAULTS, duplicates: 1_000 },
    );

  beforeAll(async () => {
    nats = await Nats.start();
    await nats.ready();
    await init();
    member = new Member('a', nats.urls, { extra: 'fleet: { heartbeat: 1s }' });
    hub = new Hub('hub', nats.urls);
    closing.push(nats, hub, member);
    if (asRoot) {
      // On a file system of its own, so that its disk can be filled.
      mkdirSync(join(hub.directory, 'state'));
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=24m', 'tmpfs', join(hub.directory, 'state')]);
    }
    await Promise.all([member.start(), hub.start()]);
  });

  afterAll(async () => {
    await hub?.kill();
    if (asRoot && hub !== undefined) execFileSync('umount', [join(hub.directory, 'state')]);
    for (const one of closing.reverse()) await one.close();
  });

  async function published(): Promise<void> {
    const last = member.db.prepare('SELECT max(id) FROM audit_log').pluck().get();
    await member.until(
      ({ sinks }) => sinks.stream?.cursors.postern?.id === last && sinks.stream?.lag_events === 0,
      'published',
    );
  }

  async function manage<T>(
    work: (manager: Awaited<ReturnType<ReturnType<typeof jetstream>['jetstreamManager']>>) => Promise<T>,
  ) {
    const nc = await connect({ servers: nats.urls.map((url) => url.slice(7)) });
    try {
      return await work(await jetstream(nc).jetstreamManager());
    } finally {
      await nc.close();
    }
  }

  async function replay(from: number): Promise<void> {
    await controlRequest(member.control, 'POST', '/replay', {
      sink: 'stream',
      source: 'postern',
      fromId: from,
    });
    for (;;) {
      const { state, error } = (await controlRequest(
        member.control,
        'GET',
        '/replay/stream',
      )) as ReplayStatus;
      if (state === 'failed') throw new Error(error ?? '');
      if (state === 'done') return;
      await sleep(50);
    }
  }

  /** Origin ids of a server's rows at the hub, in any order. */
  function idsAt(name = 'a'): number[] {
    const db = new Database(join(hub.directory, 'state/hub.db'), { readonly: true });
    try {
      const sql =
        "SELECT origin_id FROM audit_log WHERE origin = ? AND origin_source = 'postern' ORDER BY origin_id";
      return db.prepare(sql).pluck().all(name) as number[];
    } finally {
      db.close();
    }
  }

  async function hubHas(count: number): Promise<void> {
    await hub.until(() => hub.countOf('a') >= count, `${count} rows`);
    expect(idsAt()).toEqual(Array.from({ length: count }, (_, at) => at + 1));
  }

  interface Gap {
    readonly reason: string;
    readonly from?: number;
    readonly to?: number;
    readonly servers: ReadonlyArray<{ readonly server: string; readonly row: number }>;
  }

  function gaps(): Gap[] {
    const db = new Database(join(hub.directory, 'state/state.db'), { readonly: true });
    try {
      const sql = "SELECT details FROM audit_log WHERE action LIKE '%fleet_gap' ORDER BY id";
      return (db.prepare(sql).pluck().all() as string[]).map((text) => JSON.parse(text) as Gap);
    } finally {
      db.close();
    }
  }

  it('a hub notices that its stream was deleted and created again, and reads it from its start without a stall', async () => {
    member.append(60);
    await hubHas(60);
    await manage((manager) => manager.streams.delete(STREAM));
    await init();
    member.append(10); // fewer than were read, so the new stream ends before the old position
    await hubHas(70);
    expect(gaps()).toMatchObject([{ reason: 'another stream', servers: [{ server: 'a', row: 60 }] }]);
  });

  it('events that were lost with a stream are named up to the row, once, and a replay restores them', async () => {
    await published();
    await hub.kill();
    member.append(20); // the hub never reads them
    await published();
    await manage((manager) => manager.streams.delete(STREAM));
    await init();
    await hub.start();
    await hub.until(({ fleet }) => fleet?.link.connected === true && fleet.hub?.gaps_total === 1, 'the gap');
    // Another start before the first message does not report it again.
    await hub.kill();
    await hub.start();
    member.append(10);
    await hub.until(() => hub.countOf('a') >= 80, 'the new rows');
    expect(gaps().slice(1)).toMatchObject([
      { reason: 'another stream', servers: [{ server: 'a', row: 70 }] },
    ]);
    await replay(71);
    await hubHas(100);
  });

  it('messages that expired before they were read are named', async () => {
    await hub.kill();
    await published();
    const { config } = await manage((manager) => manager.streams.info(STREAM));
    // The stream remembers message ids for longer than the messages: a replay that NATS takes for duplicates would restore nothing.
    const { duplicate_window: usual } = config;
    config.duplicate_window = 600e9;
    await manage((manager) => manager.streams.update(STREAM, config));
    member.append(30);
    await published();
    const { state } = await manage((manager) => manager.streams.info(STREAM));
    // With `discard: old` and a low limit, as an administrator may set them, the oldest messages are removed.
    await manage((manager) =>
      manager.streams.update(STREAM, { ...config, max_msgs: 10, discard: 'old' as never }),
    );
    await hub.start();
    await hub.until(() => hub.countOf('a') >= 110, 'what is left');
    const [gap] = gaps().slice(2);
    expect(gap).toMatchObject({
      reason: 'expired',
      to: state.last_seq - 10,
      servers: [{ server: 'a', row: 100 }],
    });
    await manage((manager) => manager.streams.update(STREAM, { ...config, max_msgs: -1 }));
    await replay(101);
    await hubHas(130);
    await manage((manager) => manager.streams.update(STREAM, { ...config, duplicate_window: usual }));
  });

  it('an event that is sent again after the duplicate window of the stream is one row', async () => {
    const before = (await hub.status())?.fleet?.hub?.duplicates_total ?? 0;
    await sleep(1_100);
    await member.kill();
    const db = new Database(join(member.directory, 'state/state.db'));
    db.prepare("UPDATE cursor SET up_to = 80 WHERE sink = 'stream' AND source = 'postern'").run();
    db.close();
    await member.start();
    await hub.until(({ fleet }) => (fleet?.hub?.duplicates_total ?? 0) >= before + 50, 'duplicates');
    await hubHas(130);
  });

  it('publishers wait while the stream is full and report it, and everything arrives once there is room', async () => {
    const { config } = await manage((manager) => manager.streams.info(STREAM));
    const { state } = await manage((manager) => manager.streams.info(STREAM));
    await manage((manager) => manager.streams.update(STREAM, { ...config, max_msgs: state.messages + 5 }));
    member.append(30);
    const full = await member.until(
      ({ sinks }) => /is full/.test(sinks.stream?.last_error?.message ?? ''),
      'full',
    );
    expect(troublesOf(full)).toMatch(/stream.*(full|maximum)/s);
    await manage((manager) => manager.streams.update(STREAM, { ...config, max_msgs: -1 }));
    await hubHas(160);
  });

  it.skipIf(!asRoot)(
    'a hub with a full disk reports it, loses nothing, and resumes once there is room',
    async () => {
      const fill = join(hub.directory, 'state/fill');
      try {
        writeFileSync(fill, Buffer.alloc(24 * 2 ** 20));
      } catch {
        // the disk is to become full
      }
      member.append(3_000);
      const full = await hub.until(
        ({ fleet }) => /full|I\/O/i.test(fleet?.link.troubles.join() ?? ''),
        'full',
      );
      expect(troublesOf(full)).toMatch(/can't write to \S*hub\.db/);
      await published();
      expect(hub.countOf('a')).toBeLessThan(3_160);
      rmSync(fill);
      await hubHas(3_160);
    },
  );

  it('a reload under load applies a changed configuration; hub.db stays where it is, with each row once', async () => {
    const text = readFileSync(hub.configPath, 'utf8');
    writeFileSync(
      hub.configPath,
      text
        .replace('sinks:\n', `sinks:\n  more: { type: file, directory: ${hub.directory}/more, start: now }\n`)
        .replace(/^state: .*$/m, `state: ${hub.directory}/elsewhere`),
    );
    const writing = (async () => {
      for (let n = 0; n < 10; n++) {
        member.append(20);
        await sleep(100);
      }
    })();
    await sleep(300);
    hub.child?.kill('SIGHUP');
    await hub.until(({ sinks }) => sinks.more !== undefined, 'reloaded');
    await writing;
    await hubHas(3_360);
    await hub.until(({ sinks }) => sinks.more?.lag_events === 0 && sinks.audit?.lag_events === 0, 'files');
    expect(readdirSync(join(hub.directory, 'more')).length).toBeGreaterThan(0);
    expect(readdirSync(hub.directory)).not.toContain('elsewhere');
    const ids = hub.lines().filter(({ event }) => event.action !== 'x' && event.sequence > 0);
    expect(new Set(ids.map(({ event }) => event.id)).size).toBe(ids.length);
    writeFileSync(hub.configPath, text);
  });

  it('rows that retention has removed at the hub do not return by replay or redelivery; archives have their ids', async () => {
    await hub.kill();
    const archive = join(hub.directory, 'archive');
    writeFileSync(
      hub.configPath,
      `${readFileSync(hub.configPath, 'utf8')}
retention: { enabled: true, schedule: "0 0 29 2 *", keep: { default: 1d }, archive: { directory: ${archive}, compression: gzip } }
`,
    );
    await hub.start();
    await hub.until(({ sinks }) => sinks.audit?.lag_events === 0, 'shipped');
    const ids = new Map<string, string>();
    for (const { event } of hub.lines()) ids.set(event.id, event.action);
    await controlRequest(hub.control, 'POST', '/retention/now');
    // Every fifth row of the fixture is old.
    const old = Math.ceil(3_360 / 5);
    await hub.until(() => hub.countOf('a') <= 3_360 - old, 'purged');
    await hub.until(({ retention }) => retention?.last != null, 'the run over');
    const kept = hub.countOf('a');
    await sleep(1_100);
    await replay(1);
    member.append(1);
    await hub.until(({ fleet }) => fleet?.hub?.lag_events === 0 && hub.countOf('a') === kept + 1, 'read');
    expect(hub.countOf('a')).toBe(kept + 1);
    const archived = readdirSync(archive)
      .filter((name) => name.endsWith('.gz'))
      .flatMap((name) =>
        gunzipSync(readFileSync(join(archive, name)))
          .toString()
          .split('\n'),
      )
      .flatMap((line) => /"event_id":"([0-9a-f]{32})"/.exec(line)?.[1] ?? []);
    expect(archived.length).toBe(3_360 - kept);
    expect(archived.filter((id) => !ids.has(id))).toEqual([]);
  });

  it('a renamed server continues under its new name; one that has lost state.db sends its rows with new ids', async () => {
    const text = readFileSync(member.configPath, 'utf8');
    writeFileSync(member.configPath, text.replace('server: "a"', 'server: "renamed"'));
    await member.kill();
    await member.start();
    member.append(20);
    await hub.until(() => hub.countOf('renamed') === 20, 'under the new name');
    const silent = (is: DaemonStatus) =>
      is.fleet?.servers.some((one) => one.server === 'a' && one.silent) === true;
    const heard = (is: DaemonStatus) =>
      is.fleet?.servers.some(({ server, heartbeat_age }) => server === 'a' && heartbeat_age !== null);
    expect(heard((await hub.status()) as DaemonStatus)).toBe(true);
    const forget = (server: string) => {
      const args = [CLI, 'fleet', 'forget', server, '--config', hub.configPath];
      const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
      return [status, stdout + stderr] as const;
    };
    expect(forget('renamed')).toEqual([
      1,
      expect.stringMatching(/renamed sent a heartbeat \d+ s ago\. Stop its/),
    ]);
    expect(forget('b')).toEqual([1, expect.stringMatching(/no server b\. Its servers are: .*\brenamed\b/)]);
    expect(troublesOf((await hub.until(silent, 'silent')) as DaemonStatus)).toContain(
      'server a has been silent',
    );
    expect(forget('a')).toEqual([0, 'a is removed.\n']);
    await hub.until((is) => heard(is) === false, 'the old name is forgotten');
    expect(troublesOf((await hub.status()) as DaemonStatus)).not.toContain('server a');
    expect(forget('a')[0]).toBe(1);
    await member.kill();
    rmSync(join(member.directory, 'state'), { recursive: true });
    await member.start();
    // From the beginning, as `start` requests: with new ids under this name, so old rows are there twice, and none is missing.
    await hub.until(() => hub.countOf('renamed') >= 3_381 + 20, 'all rows');
    expect(new Set(idsAt('renamed')).size).toBe(3_381);
    expect(idsAt('renamed').length).toBe(3_381 + 20);
  });

  it('two servers with one name notice each other, and lose nothing', async () => {
    const twin = new Member('renamed', nats.urls, { extra: 'fleet: { heartbeat: 1s }' });
    closing.push(twin);
    const before = hub.countOf('renamed');
    await twin.start();
    twin.append(50);
    const said = (node: FleetDaemon) =>
      node.until(
        ({ fleet }) => /too\. Give each server a name/.test(fleet?.link.troubles.join() ?? ''),
        'the name',
      );
    const [status] = await Promise.all([said(twin), said(member)]);
    expect(troublesOf(status)).toMatch(/another server is named renamed/);
    member.append(10);
    await hub.until(() => hub.countOf('renamed') === before + 60, 'rows of both');
    await twin.kill('SIGTERM');
    await member.until(({ fleet }) => fleet?.link.troubles.length === 0, 'alone again');
  });
});
