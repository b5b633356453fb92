import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Host } from './host.js';
import { DATABASE } from './release.js';

const STOP = '/run/load.stop';
const PROGRAM = '/usr/local/lib/load.py';

/** Failed logins in Postern's table, each from another address, until `endLoad`. Postern has to run. */
export async function startLoad(host: Host, rowsPerSecond: number): Promise<void> {
  await host.put(join(import.meta.dirname, 'load.py'), PROGRAM);
  await host.exec(
    `rm -f ${STOP}; systemd-run --quiet --collect --unit=load python3 ${PROGRAM} rows /run/posternproxy/record ${rowsPerSecond} ${STOP}`,
  );
  await sleep(3_000);
}

interface Written {
  readonly rows: number;
  readonly lost: number;
  readonly twice: number;
}

interface Outcome {
  /** Of the table. */
  readonly rows: number;
  readonly audit: Written;
  readonly auth: Written;
  /** Seconds: the longest in which the daemon read no row. */
  readonly pause: number;
}

/** Ends the load some seconds later, and returns what is in the log files when all rows of the table have arrived there. */
export async function endLoad(host: Host): Promise<Outcome> {
  await sleep(3_000);
  await host.exec(`touch ${STOP}`);
  await host.waitFor('systemctl is-active load.service', (out) => !out.startsWith('active'));
  await sleep(1_000);
  const rows = Number(
    (await host.exec(`sqlite3 -readonly ${DATABASE} 'SELECT max(id) FROM audit_log'`)).stdout,
  );
  const said = await host.waitFor(`python3 ${PROGRAM} compare /var/log/posternproxy ${rows}`, (out, code) => {
    if (code !== 0) return false;
    const { audit, auth } = JSON.parse(out) as Outcome;
    return audit.rows >= rows && auth.rows >= rows;
  });
  return { rows, ...(JSON.parse(said) as Omit<Outcome, 'rows'>) };
}
