import { generateKeyPairSync } from 'node:crypto';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { run } from '../commands/cli.js';
import { DaemonRig } from '../daemon/daemon-fixture.js';
import { blocksOf, runBlock } from './commands.js';

const DAY = 86_400_000;

it("the auditor's walk in ARCHIVES.md leads from the table and its archives to a signed file that is verified on another host", async () => {
  const [here = [], elsewhere = []] = blocksOf('ARCHIVES.md', '## Evidence for somebody else');
  expect([here.length, elsewhere.length]).toEqual([3, 4]);
  const rig = new DaemonRig();
  const away = mkdtempSync(join(tmpdir(), 'postern-auditor-'));
  try {
    const secret = join(rig.directory, 'archive.key');
    const { privateKey, publicKey } = generateKeyPairSync('ed25519');
    writeFileSync(secret, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
    writeFileSync(join(away, 'audit.pub'), publicKey.export({ type: 'spki', format: 'pem' }));
    const archive = join(rig.directory, 'archive');
    rig.configure(
      `retention: { enabled: true, schedule: "0 0 29 2 *", keep: { default: 1y }, archive: { directory: ${archive}, sign: ${secret} } }`,
    );
    const insert = rig.db.prepare(
      "INSERT INTO audit_log (created_at, action, resource_type, details) VALUES (?, 'update', 'stream', '{}')",
    );
    const days = [400, 400, 390, 300, 200, 3, 0];
    const ids = days.map((age) => Number(insert.run(Date.now() - age * DAY).lastInsertRowid));
    rig.db.prepare('DELETE FROM audit_log WHERE id = ?').run(ids[4]); // somebody else's doing
    await rig.start();
    await rig.shipped();
    await sleep(1_100); // until that is durable
    expect(run(['retain', '--now', '--config', rig.configPath]).code).toBe(0);
    const left = rig.db.prepare('SELECT id FROM audit_log').pluck().all();
    expect(left).toEqual([ids[3], ids[5], ids[6]]); // the others are in archives

    const host = join(rig.directory, 'host');
    mkdirSync(host);
    runBlock(here, host, `--config ${rig.configPath}`);
    copyFileSync(join(host, 'evidence.tar'), join(away, 'evidence.tar'));
    await rig.close(); // nothing of the host is needed any more
    const said = runBlock(elsewhere, away);
    expect(said).toContain(`6 entries, ids ${ids[0]} to ${ids[6]}, 1 missing in between: ${ids[4]}\n`);
    expect(said).toContain('Signature Verified Successfully');
    expect(said).toContain('audit.ndjson: OK');

    const file = join(away, 'audit.ndjson');
    writeFileSync(file, readFileSync(file, 'utf8').replace('stream', 'strean'));
    const { code, out } = run(['export', 'verify', '--key', join(away, 'audit.pub'), file]);
    expect([code, out]).toEqual([1, expect.stringContaining('its bytes were changed')]);
  } finally {
    await rig.close();
    rmSync(away, { recursive: true, force: true });
  }
});
