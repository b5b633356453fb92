import { existsSync, openSync, readdirSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { percentile, Rig } from './bench-fixture.js';

const COMMITS = 600;

/** Commit → complete line in the audit file: this process commits a row, then reads the file until its line is there. */
export async function latency(): Promise<void> {
  for (const synchronous of ['NORMAL', 'FULL'] as const) {
    const rig = new Rig();
    try {
      const { db, recorder } = rig.open(synchronous);
      recorder.record({ action: 'setting.update', details: { warm: true } });
      await rig.start();
      const file = await newest(rig.audit);
      const descriptor = openSync(file, 'r');
      const buffer = Buffer.alloc(65_536);
      let offset = statSync(file).size;
      const commits: number[] = [];
      const lines: number[] = [];
      for (let n = 0; n < COMMITS; n++) {
        await sleep(5 + (n % 26));
        offset = statSync(file).size;
        const before = performance.now();
        recorder.record({ action: 'proxy_host.update', resourceId: String(n), details: { n } });
        const committed = performance.now();
        for (;;) {
          const read = readSync(descriptor, buffer, 0, buffer.length, offset);
          if (read > 0 && buffer[read - 1] === 10 && buffer.toString('utf8', 0, read).includes(`"n":${n}}`))
            break;
          if (performance.now() - committed > 5_000) throw new Error(`row ${n} did not come within 5 s`);
          await sleep(0);
        }
        commits.push(committed - before);
        lines.push(performance.now() - committed);
      }
      db.close();
      report(`latency, synchronous=${synchronous}: commit → line`, lines);
      report('  the commit itself (peer)', commits);
    } finally {
      await rig.close();
    }
  }
}

async function newest(directory: string): Promise<string> {
  for (let tries = 0; tries < 200; tries++) {
    const link = join(directory, 'current.log');
    if (existsSync(link) && statSync(link).size > 0) return link;
    await sleep(25);
  }
  throw new Error(
    `no current.log in ${directory}: ${existsSync(directory) ? readdirSync(directory).join(' ') : 'no directory'}`,
  );
}

function report(what: string, values: readonly number[]): void {
  const sorted = [...values].sort((a, b) => a - b);
  const figures = [0.5, 0.9, 0.99, 1].map((part) => percentile(sorted, part).toFixed(2));
  console.log(
    `${what}: p50 ${figures[0]} ms, p90 ${figures[1]} ms, p99 ${figures[2]} ms, max ${figures[3]} ms (${values.length})`,
  );
}
