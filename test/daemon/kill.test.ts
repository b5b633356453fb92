import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { DaemonRig, type Line } from './daemon-fixture.js';

const ROUNDS = Number(process.env.KILL_ROUNDS ?? 25);
/** Only against hangs: a busy machine took twenty times as long as an idle one. */
const LIMIT = 600_000 + ROUNDS * 60_000;

function expectDistinct(lines: readonly Line[]): void {
  const ids = lines.map(({ id }) => id);
  expect(ids.length).toBe(new Set(ids).size);
}

/** Writes small and large commits for a random while, then kills. */
async function loadThenKill(rig: DaemonRig): Promise<void> {
  const until = Date.now() + Math.random() * 150;
  while (Date.now() < until) {
    rig.append(Math.random() < 0.2 ? 120 : 3);
    await sleep(Math.random() * 4);
  }
  await rig.kill('SIGKILL');
}

describe('kill -9 under load', { timeout: LIMIT }, () => {
  it(`${ROUNDS} times, with rolls: each id once in the audit files, in order; each fresh failure once in fail2ban's`, async () => {
    const rig = new DaemonRig({ roll: '{ size: 256K, keep: 10000 }' });
    try {
      for (let round = 0; round < ROUNDS; round++) {
        if (round % 7 === 0) rig.append(50); // also rows of a time when it was down
        await rig.start();
        await loadThenKill(rig);
        rig.collectAuth();
      }
      await rig.start();
      const status = await rig.shipped();
      expect(status.sources.postern?.timeline).toBe(1);
      await rig.kill('SIGTERM');
      const rows = rig.db.prepare('SELECT id, action FROM audit_log ORDER BY id').all() as Array<{
        id: number;
        action: string;
      }>;
      const lines = rig.auditLines();
      expectDistinct(lines);
      expect(lines.filter(({ source }) => source === 'postern').map(({ sequence }) => sequence)).toEqual(
        rows.map(({ id }) => id),
      );
      const own = lines.filter(({ source }) => source === 'auditd').map(({ sequence }) => sequence);
      expect(own).toEqual(own.map((_, at) => at + 1));
      const failures = rows.filter(({ action }) => action === 'login_failure').map(({ id }) => id);
      const auth = rig.authLines();
      expectDistinct(auth);
      expect(auth.map(({ sequence }) => sequence).sort((a, b) => a - b)).toEqual(failures);
    } finally {
      await rig.close();
    }
  });

  it('with backups restored in between: nothing twice, nothing missed', async () => {
    const rig = new DaemonRig({ roll: '{ size: 256K, keep: 10000 }' });
    try {
      const seen = new Map<string, string>();
      const backups: string[] = [];
      for (let round = 0; round < ROUNDS / 5; round++) {
        await rig.start();
        if (round % 4 === 3) {
          await rig.shipped();
          for (const { n } of rig.db.prepare(`SELECT details ->> 'n' AS n FROM audit_log`).all() as Array<{
            n: string;
          }>)
            seen.set(n, n);
          backups.push(rig.backup());
          const last = Number(rig.db.prepare('SELECT max(id) FROM audit_log').pluck().get());
          rig.append(40);
          await sleep(Math.random() * 60);
          // Otherwise no row that was read is missing, and the history is the same.
          if (round === 3) {
            await rig.until(
              ({ sinks }) => (sinks.audit?.cursors.postern?.id ?? 0) > last,
              'what will be gone',
            );
          }
          await rig.kill('SIGKILL');
          rig.restore(backups[Math.floor(Math.random() * backups.length)] ?? '');
          // A row with the id and the second of a row that was read counts as an edit of it (docs/reference/GUARANTEES.md).
          await sleep(1_100);
          rig.append(Math.floor(Math.random() * 90));
        } else {
          await loadThenKill(rig);
        }
      }
      await rig.start();
      await rig.shipped();
      for (const { n } of rig.db.prepare(`SELECT details ->> 'n' AS n FROM audit_log`).all() as Array<{
        n: string;
      }>)
        seen.set(n, n);
      await rig.kill('SIGTERM');
      const lines = rig.auditLines();
      expectDistinct(lines);
      const got = lines.filter(({ source }) => source === 'postern').map(({ details }) => String(details?.n));
      expect(got.length).toBe(new Set(got).size);
      const had = new Set(got);
      for (const n of seen.keys()) expect(had.has(n)).toBe(true);
      expect(Math.max(...lines.map(({ timeline }) => timeline))).toBeGreaterThan(1);
    } finally {
      await rig.close();
    }
  });
});
