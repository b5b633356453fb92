import { readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BACKLOG_WINDOW } from '../../../src/sinks/syslog/relp-window.js';
import { DaemonRig } from '../../daemon/daemon-fixture.js';
import { RunningRsyslog, withoutRsyslog } from './rsyslog.js';

const KILLS = Number(process.env.SYSLOG_KILLS ?? 10);

interface Arrivals {
  /** How often each of Postern's events came, by `event.id`. */
  readonly times: Map<string, number>;
  /** The event of each row. */
  readonly rows: Map<number, string>;
  /** Each time rows came again: how many. */
  readonly again: number[];
}

function arrivals(lines: readonly string[]): Arrivals {
  const times = new Map<string, number>();
  const rows = new Map<number, string>();
  const again: number[] = [];
  let last = 0;
  for (const line of lines) {
    const { event, postern } = JSON.parse(line.slice(line.indexOf('{'))) as {
      event: { id: string; sequence: number };
      postern: { source: string };
    };
    if (postern.source !== 'postern') continue;
    times.set(event.id, (times.get(event.id) ?? 0) + 1);
    if (event.sequence <= last) again.push(0);
    if (rows.has(event.sequence)) again.push((again.pop() ?? 0) + 1);
    rows.set(event.sequence, event.id);
    last = event.sequence;
  }
  return { times, rows, again };
}

describe.skipIf(withoutRsyslog())('the daemon killed with -9 under load, over and over', () => {
  let rsyslog: RunningRsyslog;

  beforeAll(async () => {
    rsyslog = await RunningRsyslog.start();
  });

  afterAll(() => rsyslog?.close());

  it(
    'loses no event; what comes twice has the same id',
    async () => {
      const rig = new DaemonRig();
      try {
        const sinks = `sinks:
  relp: { type: syslog, transport: relp, targets: ["127.0.0.1:${rsyslog.ports.relp}"], start: beginning }
  tcp: { type: syslog, transport: tcp, targets: ["127.0.0.1:${rsyslog.ports.tcp}"], start: beginning, replay_window: { bytes: 1M, age: 1s } }`;
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
        // After an orderly stop the window (1M) is not sent again, only what is younger than its age: the daemon's own stop, with what
        // shares a slice with it, at most a sixteenth. New are its starts and stops.
        const again = rsyslog.lines('tcp').slice(before).join('').length;
        expect(again).toBeLessThan(2 ** 16 + 4_096);
        const count = rig.db.prepare('SELECT count(*) FROM audit_log').pluck().get() as number;
        const said: string[] = [];
        for (const input of ['relp', 'tcp'] as const) {
          const { times, rows, again: runs } = arrivals(rsyslog.lines(input));
          const twice = [...times.values()].reduce((sum, n) => sum + n - 1, 0);
          said.push(
            `${input}: ${count} events, ${KILLS} kills, ${count - rows.size} lost, ${twice} duplicates`,
          );
          expect(rows.size).toBe(count);
          expect(times.size).toBe(count); // a row never has two ids
          if (input !== 'relp') continue;
          // After each kill at most what was sent and not known to be answered.
          expect(Math.max(0, ...runs)).toBeLessThanOrEqual(BACKLOG_WINDOW);
          expect(twice).toBeLessThanOrEqual(KILLS * BACKLOG_WINDOW);
        }
        console.info(said.join('\n'));
      } finally {
        await rig.close();
      }
    },
    600_000 + KILLS * 60_000,
  );
});
