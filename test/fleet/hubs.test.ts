import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { renderStatus } from '../../src/commands/status/render.js';
import { utcTime } from '../../src/commands/support/times.js';
import { initFleet } from '../../src/fleet/init.js';
import { STREAM_DEFAULTS } from '../../src/sinks/jetstream/stream.js';
import { Hub, Member, troublesOf } from './fleet-fixture.js';
import { hasNats, Nats } from './nats.js';

if (!hasNats() && process.env.CI !== undefined) throw new Error('nats-server is not installed');

/** A syslog collector over TCP with newline framing. It keeps the event ids that arrive, each with its hub's port. */
class Collector {
  readonly ids: string[] = [];
  /** The number of the connection that delivered each of `ids`, from 0. */
  readonly from: number[] = [];
  connections = 0;
  private readonly server: Server;
  port = 0;

  constructor() {
    this.server = createServer((socket) => {
      let text = '';
      const number = this.connections++;
      socket.on('error', () => undefined);
      socket.setEncoding('utf8').on('data', (data: string) => {
        text += data;
        for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n')) {
          const id = /"id":"([0-9a-f]{32})".*"postern":\{"source":"postern"/.exec(text.slice(0, at))?.[1];
          if (id !== undefined) {
            this.ids.push(id);
            this.from.push(number);
          }
          text = text.slice(at + 1);
        }
      });
    });
  }

  async listen(): Promise<void> {
    await new Promise<void>((resolve) => this.server.listen(0, '127.0.0.1', resolve));
    this.port = (this.server.address() as { port: number }).port;
  }

  close(): void {
    this.server.close();
  }
}

describe.skipIf(!hasNats())('two hubs', () => {
  const collector = new Collector();
  let nats: Nats;
  let member: Member;
  let hubs: Hub[] = [];

  beforeAll(async () => {
    await collector.listen();
    nats = await Nats.start();
    await nats.ready();
    await initFleet({ servers: nats.urls, stream: 'POSTERN_AUDIT', connect_timeout: 5_000 }, STREAM_DEFAULTS);
    member = new Member('a', nats.urls, { extra: 'fleet: { heartbeat: 1s }' });
    hubs = ['hub-1', 'hub-2'].map(
      (name) =>
        new Hub(name, nats.urls, {
          sinks: `  audit: { type: file, directory: $DIR/audit, group: null }
  siem: { type: syslog, transport: tcp, targets: ["127.0.0.1:${collector.port}"], framing: newline, start: beginning, replay_window: { events: 0, bytes: 0B, age: 0s } }`,
        }),
    );
    await member.start();
    await hubs[0]?.start();
    await hubs[0]?.until(({ fleet }) => fleet?.lease?.held === true, 'the lease');
    await hubs[1]?.start();
  });

  afterAll(async () => {
    for (const hub of hubs) await hub.close();
    await member?.close();
    await nats?.close();
    collector.close();
  });

  function written(): string[] {
    const text = readFileSync(`${hubs[1]?.directory}/audit/current.log`, 'utf8');
    const lines = text.split('\n').slice(0, -1);
    const events = lines.map(
      (line) => JSON.parse(line) as { event: { id: string }; postern: { source: string } },
    );
    return events.filter(({ postern }) => postern.source === 'postern').map(({ event }) => event.id);
  }

  it('both hubs write files, one ships to other hosts; after a kill the other resumes at its position, and skips nothing', async () => {
    const [first, second] = hubs as [Hub, Hub];
    member.append(500);
    await first.until(
      ({ sinks, fleet }) => (fleet?.hub?.inserted_total ?? 0) >= 500 && sinks.siem?.lag_events === 0,
      'shipped',
    );
    const standing = await second.until(
      ({ sinks, fleet }) =>
        fleet?.lease?.holder === 'hub-1' &&
        sinks.siem?.state === 'standing by' &&
        sinks.audit?.lag_events === 0 &&
        (fleet.hub?.inserted_total ?? 0) >= 500,
      'stands by, and has its files',
    );
    expect(standing.fleet?.lease).toMatchObject({ held: false, holder: 'hub-1' });
    await sleep(4_500); // the word of how far the first has got
    member.append(300);
    await sleep(300);
    await first.kill();
    member.append(300);
    const taken = await second.until(({ fleet }) => fleet?.lease?.held === true, 'the lease');
    expect(taken.fleet?.lease?.holder).toBe('hub-2');
    await second.until(
      ({ sinks, fleet }) =>
        fleet?.hub?.lag_events === 0 && sinks.siem?.lag_events === 0 && sinks.audit?.lag_events === 0,
      'all',
    );
    const all = new Set(written());
    expect(all.size).toBeGreaterThanOrEqual(1_100);
    while (new Set(collector.ids).size < all.size) await sleep(50);
    expect(new Set(collector.ids)).toEqual(all);
    // Only events that the first hub shipped since its last renewal arrive twice.
    expect(collector.ids.length - all.size).toBeLessThanOrEqual(301);
  });

  it('an orderly stop releases the lease at once', async () => {
    const [first, second] = hubs as [Hub, Hub];
    await first.start();
    await first.until(
      ({ fleet }) => fleet?.link.connected === true && fleet.lease?.holder === 'hub-2',
      'stands by',
    );
    const before = Date.now();
    await second.kill('SIGTERM');
    await first.until(({ fleet }) => fleet?.lease?.held === true, 'the lease');
    console.log(`handed over after ${Date.now() - before} ms`);
  });

  it('a holder that hangs loses the lease; when it resumes it ships nothing', async () => {
    const [first, second] = hubs as [Hub, Hub];
    await second.start();
    await second.until(({ fleet }) => fleet?.lease?.holder === 'hub-1', 'stands by');
    member.append(20);
    await first.until(
      ({ fleet, sinks }) => fleet?.hub?.lag_events === 0 && sinks.siem?.lag_events === 0,
      'shipped',
    );
    let writing = true;
    const written = (async () => {
      while (writing) {
        member.append(20);
        await sleep(100);
      }
    })();
    await sleep(500);
    first.child?.kill('SIGSTOP');
    await second.until(({ fleet }) => fleet?.lease?.held === true, 'the lease');
    await second.until(({ sinks }) => sinks.siem?.figures.connected === true, 'shipping');
    const [its, before] = [collector.connections - 1, collector.ids.length];
    first.child?.kill('SIGCONT');
    await sleep(2_500);
    writing = false;
    await written;
    const standing = await first.until(({ sinks }) => sinks.siem?.state === 'standing by', 'stands by');
    expect(standing.fleet?.lease).toMatchObject({ held: false, holder: 'hub-2' });
    await second.until(
      ({ fleet, sinks }) => fleet?.hub?.lag_events === 0 && sinks.siem?.lag_events === 0,
      'all',
    );
    // At most the batch between the check of the lease and the socket.
    expect(collector.from.slice(before).filter((from) => from !== its).length).toBeLessThanOrEqual(20);
    expect(collector.ids.length).toBeGreaterThan(before);
    // Its reported position is that of the holder, not its own old one.
    await first.until(
      ({ sinks }) =>
        sinks.siem?.state === 'standing by' &&
        sinks.siem.cursors.postern?.id === sinks.audit?.cursors.postern?.id,
      'follows',
      20_000,
    );
    await second.kill('SIGTERM');
    await first.until(({ fleet }) => fleet?.lease?.held === true, 'the lease');
  });

  it('status shows each server with its last event, version and clock; silence and return of a server are events', async () => {
    const [first] = hubs as [Hub];
    const status = await first.until(
      ({ fleet }) =>
        fleet?.servers.some(({ server, lag_events: lag }) => server === 'a' && lag === 0) === true,
      'heard',
    );
    const a = status.fleet?.servers.find(({ server }) => server === 'a');
    expect(a).toMatchObject({
      silent: false,
      version: '0.1.0',
      lag_events: 0,
      last_event: expect.stringMatching(/^20\d\d-/),
    });
    expect(Math.abs(a?.clock_difference ?? 99)).toBeLessThan(5);
    await member.kill();
    const silent = await first.until(
      ({ fleet }) => fleet?.servers.some(({ server, silent: is }) => server === 'a' && is) === true,
      'silent',
    );
    expect(troublesOf(silent)).toContain('server a has been silent');
    expect(renderStatus(silent, { now: Date.now(), times: utcTime, width: 200, verbose: false })).toMatch(
      /a: SILENT for \d+ s; last event 20/,
    );
    await member.start();
    await first.until(
      ({ fleet }) => fleet?.servers.every(({ server, silent: is }) => server !== 'a' || !is) === true,
      'back',
    );
    const text = () => readFileSync(`${first.directory}/audit/current.log`, 'utf8');
    await expect.poll(text).toContain('"action":"daemon.server_silent"');
    await expect.poll(text).toContain('"action":"daemon.server_back"');
  });
});
