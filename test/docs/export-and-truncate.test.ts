import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { CLI } from '../commands/cli.js';
import { DaemonRig } from '../daemon/daemon-fixture.js';
import { countRows } from '../retention/count.js';

const DAY = 86_400_000;

/** The commands of the first block behind a heading. */
function commandsOf(page: string, heading: string): string[] {
  const text = readFileSync(resolve(import.meta.dirname, '../../docs/guide', page), 'utf8');
  const [, block = ''] = /```\n([\s\S]*?)```/.exec(text.slice(text.indexOf(heading))) ?? [];
  return block.split('\n').flatMap((line) => (line.startsWith('$ ') ? [line.slice(2)] : []));
}

it('the commands in RETENTION.md that replace export and truncate lose no row, whatever the format of its time', async () => {
  const commands = commandsOf('RETENTION.md', '## Instead of export and truncate');
  expect(commands).toHaveLength(4);
  const rig = new DaemonRig();
  const archive = join(rig.directory, 'archive');
  try {
    rig.configure(
      `retention: { enabled: true, schedule: "0 0 29 2 *", keep: { default: 1y }, archive: { directory: ${archive} } }`,
    );
    const insert = rig.db.prepare(
      "INSERT INTO audit_log (created_at, action, resource_type, details) VALUES (?, 'update', 'stream', ?)",
    );
    const written = new Map<number, string>();
    const young: number[] = [];
    for (let n = 0; n < 40; n++) {
      const days = n === 39 ? 0 : n % 2 === 0 ? 400 : 300; // ages count from the newest row
      const time = Date.now() - days * DAY - n * 60_000;
      const iso = new Date(time).toISOString();
      const forms = [iso.slice(0, 19).replace('T', ' '), iso, String(Math.floor(time / 1_000)), String(time)];
      const details = `{"n":${n}}`;
      const id = Number(insert.run(forms[Math.floor(n / 2) % forms.length], details).lastInsertRowid);
      written.set(id, details);
      if (n % 2 === 1) young.push(id);
    }
    await rig.start();
    await rig.shipped();
    await sleep(1_100); // until that is durable
    const bin = join(rig.directory, 'bin');
    mkdirSync(bin);
    const command = join(bin, 'postern-auditd');
    writeFileSync(command, `#!/bin/sh\nexec ${process.execPath} ${CLI} "$@" --config ${rig.configPath}\n`);
    chmodSync(command, 0o755);
    for (const line of commands) {
      const env = { PATH: `${bin}:${process.env.PATH}` };
      const { status, stderr } = spawnSync('sh', ['-c', line], { cwd: rig.directory, env, encoding: 'utf8' });
      expect([line, status, status === 0 ? '' : stderr]).toEqual([line, 0, '']);
    }
    const exported = readFileSync(join(rig.directory, 'audit-export.ndjson'), 'utf8').trimEnd().split('\n');
    const ids = exported.map((line) => (JSON.parse(line) as { id: string }).id);
    for (const id of written.keys()) expect(ids).toContain(`postern:${id}`);
    expect(rig.db.prepare('SELECT id FROM audit_log').pluck().all()).toEqual(young);
    expect(countRows(rig.database, archive, written)).toMatchObject({
      archived: written.size - young.length,
      both: 0,
      missing: [],
      twice: [],
      changed: [],
    });
  } finally {
    await rig.close();
  }
});
