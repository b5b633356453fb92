import { setTimeout as sleep } from 'node:timers/promises';
import { bareNode, cpuOf, MB, Rig, usage } from './bench-fixture.js';
import { addFigure } from './figures.js';

const ROWS = Number(process.env.BENCH_ROWS ?? 1_000_000);

/** A backlog through both local sinks, compared with a dump of the same table by `sqlite3 -json`. */
export async function backlog(): Promise<void> {
  const rig = new Rig();
  try {
    fill(rig, ROWS);
    const peerStart = performance.now();
    const dump = cpuOf('sqlite3', ['-json', rig.database, 'SELECT * FROM audit_log ORDER BY id']);
    const peer = ROWS / ((performance.now() - peerStart) / 1_000);
    const start = performance.now();
    const pid = await rig.start();
    for (;;) {
      const status = await rig.status();
      const behind = Object.values(status?.sinks ?? {}).some(
        ({ cursors, looks }) => looks === undefined && (cursors.postern?.id ?? 0) < ROWS,
      );
      if (status !== null && !behind) break;
      if (performance.now() - start > 300_000) throw new Error('not done within 300 s');
      await sleep(100);
    }
    const rate = ROWS / ((performance.now() - start) / 1_000);
    const { cpu, peak } = usage(pid);
    const bare = await bareNode(1);
    const rows = `backlog of ${ROWS.toLocaleString('en')} rows`;
    const dumped = 'sqlite3 -json to /dev/null';
    addFigure({
      name: `${rows} into the audit file: CPU a row, start included`,
      value: (cpu / ROWS) * 1e6,
      unit: 'µs',
      goal: { atMost: 8.5 },
      peer: { name: dumped, value: (dump / ROWS) * 1e6 },
      bench: 'backlog',
    });
    addFigure({
      name: `${rows} into the audit file, start included`,
      value: rate,
      unit: 'rows/s',
      peer: { name: dumped, value: peer },
      bench: 'backlog',
    });
    addFigure({
      name: `${rows}: RSS at most`,
      value: peak / MB,
      unit: 'MB',
      goal: { atMost: 100 },
      peer: { name: 'Node.js with a timer', value: bare.rss / MB },
      bench: 'backlog',
    });
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
