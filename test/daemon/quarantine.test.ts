import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, onTestFinished, test } from 'vitest';
import { run } from '../commands/cli.js';
import { DaemonRig } from './daemon-fixture.js';

// The real daemon, with a fault in it: it dies at a certain text in `details` (fixtures/dies-at-marker.mjs).

const PRELOAD = pathToFileURL(resolve(import.meta.dirname, 'fixtures/dies-at-marker.mjs')).href;
const MARKER = 'ends-the-process';
const ADDRESS = '198.51.100.66';

function faultyDaemon(env: Record<string, string> = {}): DaemonRig {
  const rig = new DaemonRig({ env: { NODE_OPTIONS: `--import=${PRELOAD}`, ...env } });
  onTestFinished(() => rig.close());
  return rig;
}

async function dies(rig: DaemonRig): Promise<void> {
  await expect.poll(() => rig.child === null || rig.child.signalCode, { timeout: 120_000 }).toBe('SIGKILL');
}

function deadly(rig: DaemonRig): number {
  rig.append(3);
  const id = rig.record({
    action: 'auth.login_failure',
    address: ADDRESS,
    user: { name: 'eve' },
    details: { user_agent: `${MARKER} token` },
  });
  rig.append(3);
  return id;
}

/** Starts the daemon until it stays alive. @returns the number of starts */
async function startsUntilAlive(rig: DaemonRig, most: number): Promise<number> {
  for (let starts = 1; ; starts++) {
    try {
      await rig.start();
      await rig.shipped();
      return starts;
    } catch (error) {
      if (starts === most) throw error;
    }
  }
}

function rowsOf(rig: DaemonRig): number[] {
  return rig.auditLines().flatMap(({ source, sequence }) => (source === 'postern' ? [sequence] : []));
}

describe('a row at which the process dies', () => {
  test('a crashing row is shipped without its details at the third start; fail2ban has its failure', async () => {
    const rig = faultyDaemon();
    await rig.start();
    rig.append(5);
    await rig.shipped();
    const id = deadly(rig);
    await dies(rig);
    const more = await startsUntilAlive(rig, 3);
    expect(1 + more).toBe(3);

    const rows = Number(rig.db.prepare('SELECT count(*) FROM audit_log').pluck().get());
    expect(rowsOf(rig)).toEqual(Array.from({ length: rows }, (_, at) => at + 1));
    const lines = rig.auditLines();
    const [line] = lines.filter(({ source, sequence }) => source === 'postern' && sequence === id);
    expect(line?.details).toEqual({ left_out: 'the row ended the process again and again' });
    for (const other of lines.filter(({ source, sequence }) => source === 'postern' && sequence !== id))
      expect(other.details?.left_out).toBeUndefined();
    const told = lines.filter(({ action }) => action === 'daemon.row_quarantined');
    expect(told.map(({ details }) => details)).toMatchObject([
      { source: 'postern', row: String(id), deaths: 2 },
    ]);
    expect(rig.authLines().filter(({ sequence }) => sequence === id)).toHaveLength(1);
    const text = JSON.stringify(lines);
    expect(text).not.toContain(MARKER);

    // The row does not crash other readers either, such as the page.
    const asked = { NODE_OPTIONS: `--import=${PRELOAD}` };
    const queried = run(['query', '--config', rig.configPath, '--ndjson'], asked);
    expect(queried.err).toBe('');
    expect(queried.out).toContain('{"left_out":"the row ended the process again and again"}');
    const explained = run(['explain', String(id), '--config', rig.configPath], asked);
    expect(explained.out).toContain('the row ended the process again and again');
    expect(queried.out + explained.out).not.toContain(MARKER);

    // The quarantine survives an orderly stop and a kill.
    await rig.kill('SIGTERM');
    await rig.start();
    await rig.kill();
    await rig.start();
    rig.append(2);
    await rig.shipped();
  });

  test('a crashing row in a backlog is shipped at the third start', async () => {
    const rig = faultyDaemon();
    rig.append(300);
    const id = deadly(rig);
    rig.append(300);
    expect(await startsUntilAlive(rig, 3)).toBe(3);
    expect(rowsOf(rig)).toEqual(Array.from({ length: 607 }, (_, at) => at + 1));
    expect(
      rig
        .auditLines()
        .filter(({ details }) => details?.left_out !== undefined)
        .map((line) => line.sequence),
    ).toEqual([id]);
  });

  test("the third start survives a crashing row that fail2ban's head reads first", async () => {
    const rig = faultyDaemon();
    // Enough rows that the walk from the lowest one has not arrived yet. The text is met while the row is read, and is too long to be kept.
    rig.append(12_000);
    const id = rig.record({ action: 'auth.login_failure', address: `${'x'.repeat(65)}${MARKER}` });
    rig.append(40);
    expect(await startsUntilAlive(rig, 3)).toBe(3);
    const told = rig.auditLines().filter(({ action }) => action === 'daemon.row_quarantined');
    expect(told.map(({ details }) => details)).toMatchObject([
      { source: 'postern', row: String(id), deaths: 2 },
    ]);
    expect(rowsOf(rig)).toEqual(Array.from({ length: 12_041 }, (_, at) => at + 1));
    // The fresh failure, however long the starts took, and none for the row without an address.
    const fresh = rig.record({ action: 'auth.login_failure', address: ADDRESS });
    const failed = () => rig.authLines().map(({ sequence }) => sequence);
    await expect.poll(failed, { timeout: 60_000 }).toContain(fresh);
    expect(failed()).not.toContain(id);
  });

  test('a row at which the process crashed once, for another reason, is shipped unchanged', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'postern-dies-once-'));
    onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
    const rig = faultyDaemon({ DIES_ONCE: join(directory, 'died') });
    await rig.start();
    const id = deadly(rig);
    await dies(rig);
    await rig.start();
    await rig.shipped();
    const line = rig.auditLines().find(({ source, sequence }) => source === 'postern' && sequence === id);
    expect(line?.details).toEqual({ user_agent: `${MARKER} token` });
  });

  test('crashes before a reboot do not count', async () => {
    const rig = faultyDaemon();
    await rig.start();
    const id = deadly(rig);
    await dies(rig);
    const path = join(rig.place, 'state', 'row.note');
    for (let boots = 0; boots < 3; boots++) {
      const note = JSON.parse(readFileSync(path, 'utf8')) as { boot: number; row: { row: string } };
      expect(note.row.row).toBe(String(id));
      writeFileSync(path, JSON.stringify({ ...note, boot: note.boot - 3_600_000 }));
      await expect(rig.start()).rejects.toThrow('the daemon ended with');
    }
    expect(rowsOf(rig)).not.toContain(id);
  });
});
