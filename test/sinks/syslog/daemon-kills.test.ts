import { readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DaemonRig } from '../../daemon/rig.js';
import { Authority, HERE } from './certificates.js';
import { freePort } from './receivers.js';
import { type Ports, Rsyslog, withoutRsyslog } from './rsyslog.js';

const KILLS = Number(process.env.SYSLOG_KILLS ?? 20);

/** What rsyslog got: how often each of Postern's events, by `event.id`, with the row it names. */
function arrivals(lines: readonly string[]): { times: Map<string, number>; rows: Map<number, string> } {
  const times = new Map<string, number>();
  const rows = new Map<number, string>();
  for (const line of lines) {
    const { event, postern } = JSON.parse(line.slice(line.indexOf('{'))) as {
      event: { id: string; sequence: number };
      postern: { source: string };
    };
    if (postern.source !== 'postern') continue;
    times.set(event.id, (times.get(event.id) ?? 0) + 1);
    rows.set(event.sequence, event.id);
  }
  return { times, rows };
}

describe.skipIf(withoutRsyslog())('the daemon killed with -9 under load, over and over', () => {
  let authority: Authority;
  let rsyslog: Rsyslog;
  let ports: Ports;

  beforeAll(async () => {
    authority = new Authority();
    const free = () => freePort();
    ports = {
      udp: await free(),
      tcp: await free(),
      tls: await free(),
      relp: await free(),
      relpTls: await free(),
    };
    rsyslog = new Rsyslog({ ports, server: authority.issue('server', HERE), ca: authority.cert });
    await rsyslog.start();
  });

  afterAll(async () => {
    await rsyslog?.close();
    authority?.remove();
  });

  it('loses no event; what comes twice has the same id', async () => {
    const rig = new DaemonRig();
    try {
      const sinks = `sinks:
  relp: { type: syslog, transport: relp, targets: ["127.0.0.1:${ports.relp}"], start: beginning }
  tcp: { type: syslog, transport: tcp, targets: ["127.0.0.1:${ports.tcp}"], start: beginning, replay_window: { bytes: 1M, age: 1s } }`;
      writeFileSync(rig.configPath, readFileSync(rig.configPath, 'utf8').replace('sinks:', sinks));
      for (let kill = 0; kill < KILLS; kill++) {
        if (kill % 3 === 0) rig.append(3_000); // a backlog of when it was down
        await rig.start();
        const until = Date.now() + Math.random() * 400;
        while (Date.now() < until) {
          rig.append(Math.random() < 0.2 ? 200 : 5);
          await sleep(Math.random() * 5);
        }
        await rig.kill('SIGKILL');
      }
      await rig.start();
      await rig.shipped();
      await sleep(1_500); // past the window's age
      await rig.kill('SIGTERM');
      await sleep(300);
      const before = rsyslog.lines('tcp').length;
      await rig.start();
      await rig.shipped();
      await rig.kill('SIGTERM');
      await sleep(300);
      // After an orderly stop the window is not sent again: what is new is the daemon's own start and stop.
      expect(rsyslog.lines('tcp').length - before).toBeLessThanOrEqual(4);
      const count = rig.db.prepare('SELECT count(*) FROM audit_log').pluck().get() as number;
      const said: string[] = [];
      for (const input of ['relp', 'tcp'] as const) {
        const { times, rows } = arrivals(rsyslog.lines(input));
        const twice = [...times.values()].reduce((sum, n) => sum + n - 1, 0);
        said.push(
          `${input}: ${count} events, ${KILLS} kills, ${count - rows.size} lost, ${twice} duplicates`,
        );
        expect(rows.size).toBe(count);
        expect(times.size).toBe(count); // a row never has two ids
        // Answered or not, what a batch had sent when it was killed.
        if (input === 'relp') expect(twice).toBeLessThanOrEqual(KILLS * 2_128);
      }
      console.info(said.join('\n'));
    } finally {
      await rig.close();
    }
  });
});
