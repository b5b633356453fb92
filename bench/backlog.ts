import { execFileSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { MB, Rig, usage } from './bench-fixture.js';

const ROWS = Number(process.env.BENCH_ROWS ?? 1_000_000);

/** A backlog through both local sinks, compared with a dump of the same table by `sqlite3 -json`. */
export async function backlog(): Promise<void> {
  const rig = new Rig();
  try {
    fill(rig, ROWS);
    const peerStart = performance.now();
    execFileSync('sqlite3', ['-json', rig.database, 'SELECT * FROM audit_log ORDER BY id'], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    const peer = ROWS / ((performance.now() - peerStart) / 1_000);
    const start = performance.now();
    const pid = await rig.start();
    const rss: number[] = [];
    for (;;) {
      const status = await rig.status();
      rss.push(usage(pid).rss);
      const behind = Object.values(status?.sinks ?? {}).some(
        ({ cursors, looks }) => looks === undefined && (cursors.postern?.id ?? 0) < ROWS,
      );
      if (status !== null && !behind) break;
      if (performance.now() - start > 300_000) throw new Error('not done within 300 s');
      await sleep(100);
    }
    const seconds = (performance.now() - start) / 1_000;
    const { cpu } = usage(pid);
    const rate = ROWS / seconds;
    const early = rss.slice(0, Math.ceil(rss.length / 4));
    console.log(
      `backlog: ${ROWS} rows into both files in ${seconds.toFixed(1)} s = ${Math.round(rate)} rows/s ` +
        `(process start included), ${cpu.toFixed(1)} s CPU, RSS ${(Math.max(...early) / MB).toFixed(0)} MB in the first quarter, ` +
        `${(Math.max(...rss) / MB).toFixed(0)} MB at most`,
    );
    console.log(
      `  sqlite3 -json to /dev/null (peer): ${Math.round(peer)} rows/s; ratio ${(rate / peer).toFixed(2)}`,
    );
  } finally {
    await rig.close();
  }
}

/** A table with this many rows of several kinds. */
export function fill(rig: Rig, rows: number): void {
  const { db, recorder } = rig.open();
  const first = Date.now() - rows * 100;
  const actions = [
    'auth.login_success',
    'proxy_host.update',
    'auth.login_failure',
    'certificate.renew',
    'user.update',
  ] as const;
  db.transaction(() => {
    for (let n = 0; n < rows; n++) {
      recorder.record({
        action: actions[n % actions.length] ?? 'auth.logout',
        time: first + n * 100,
        user: { id: n % 50, name: `admin${n % 50}`, email: `admin${n % 50}@example.net` },
        resourceId: n % 1_000,
        address: `198.51.${(n >> 8) % 256}.${n % 256}`,
        details: {
          domain_names: [`host${n % 1_000}.example.net`],
          forward_port: 8_080,
          enabled: true,
          before: { enabled: false },
        },
      });
    }
  })();
  db.close();
}
