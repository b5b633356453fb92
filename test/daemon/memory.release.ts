import { readFileSync, writeFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { expect, it } from 'vitest';
import { listen } from '../sinks/syslog/receivers.js';
import { DaemonRig } from './daemon-fixture.js';

const ROWS = Number(process.env.MEMORY_ROWS ?? 5_000_000);
const PARTS = 20;
/** Parts in which V8 compiles, and its heap finds its size. */
const WARM_UP = 4;
const COMMIT = 5_000;
const SAMPLE_MS = 100;
/** Wide, since V8 decides when it collects. A leak of 10 bytes a row is 25 MB from one half to the other. */
const MOST_GROWTH = 1.15;

function residentMb(pid: number): number {
  const found = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Number(found?.[1]) / 1_024;
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

/** Commits rows of several kinds and sizes; one in a hundred is a failed login. */
function append(rig: DaemonRig, from: number, count: number): void {
  rig.db.transaction(() => {
    for (let n = from; n < from + count; n++) {
      if (n % 100 === 0) rig.record({ action: 'auth.login_failure', address: '203.0.113.7', details: { n } });
      else
        rig.record({ action: 'proxy_host.update', resourceId: n, details: { n, text: 'x'.repeat(n % 400) } });
    }
  })();
}

/** Reads and discards all bytes. */
async function discardingCollector() {
  return listen((socket: Socket) => void socket.resume());
}

it(`the memory of the daemon stays the same over ${ROWS.toLocaleString('en')} rows into a file and to a collector`, async () => {
  const collector = await discardingCollector();
  const rig = new DaemonRig({ roll: '{ size: 64M, keep: 2 }' });
  try {
    const sinks = `sinks:
  siem: { type: syslog, transport: tcp, targets: ["${collector.target}"], start: beginning }`;
    writeFileSync(rig.configPath, readFileSync(rig.configPath, 'utf8').replace('sinks:', sinks));
    await rig.start();
    const pid = rig.child?.pid ?? 0;
    const medians: number[] = [];
    for (let part = 0; part < PARTS; part++) {
      const samples: number[] = [];
      const sampling = setInterval(() => samples.push(residentMb(pid)), SAMPLE_MS);
      const size = ROWS / PARTS;
      for (let at = 0; at < size; at += COMMIT) {
        append(rig, part * size + at, Math.min(COMMIT, size - at));
        await rig.until(
          ({ sinks: { audit, siem } }) => Math.max(audit?.lag_events ?? 0, siem?.lag_events ?? 0) < 50_000,
          'near',
        );
      }
      await rig.shipped();
      clearInterval(sampling);
      medians.push(median(samples));
      console.info(
        `${((part + 1) * size).toLocaleString('en')} rows: RSS ${median(samples).toFixed(0)} MB (median), ${Math.max(...samples).toFixed(0)} MB (most)`,
      );
    }
    const warm = medians.slice(WARM_UP);
    const [first, second] = [warm.slice(0, warm.length / 2), warm.slice(warm.length / 2)].map(median);
    console.info(`first half ${first?.toFixed(0)} MB, second half ${second?.toFixed(0)} MB`);
    expect(second).toBeLessThanOrEqual((first ?? 0) * MOST_GROWTH);
  } finally {
    await rig.close();
    await collector.close();
  }
});
