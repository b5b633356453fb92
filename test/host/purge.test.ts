import { afterAll, beforeAll, expect, it } from 'vitest';
import { bootHost, describeHost, type Host } from './host.js';
import { MODULES, putModules } from './modules.js';
import {
  DATABASE,
  expectOnlyDatabase,
  install,
  type PosternOptions,
  recordFailures,
  release,
  startPostern,
  unpack,
} from './release.js';

const CONFIG = '/etc/postern-auditd/config.yml';
const SOCKET = '/run/postern-auditd-purge.sock';

/** SQL for rows of the given age, each in another form that `created_at` may have. */
function rows(days: number): string {
  const at = `strftime('%s', 'now') - ${days} * 86400`;
  const forms = [
    `datetime(${at}, 'unixepoch')`,
    `strftime('%Y-%m-%dT%H:%M:%SZ', ${at}, 'unixepoch')`,
    `strftime('%Y-%m-%dT%H:%M:%S', ${at} + 19800, 'unixepoch') || '+05:30'`,
    `${at}`,
    `(${at}) * 1000`,
  ];
  return forms
    .map(
      (form) =>
        `INSERT INTO audit_log (created_at, action, resource_type) VALUES (${form}, 'update', 'stream');`,
    )
    .join('\n');
}

/** Creates an archive of all rows, whatever their age, and prints the request for it. */
const FORGE = `
const dist = '${MODULES}/';
const { default: Database } = await import(dist + 'load-sqlite.js');
const { TableRows } = await import(dist + 'retention/archive/table-rows.js');
const { createArchive } = await import(dist + 'retention/archive/write.js');
const { loadConfig } = await import(dist + 'config/load.js');
const { config } = loadConfig('${CONFIG}', {});
const db = new Database(process.argv[2], { readonly: true });
const table = new TableRows(db, config.source, { identify: () => ({ id: '', length: 0 }) });
const rows = table.after(0, 1e6, 1e6).map((row) => ({ ...row, time: null }));
const options = { source: 'postern', sourceId: '0', timeline: 1, month: 'undated', run: 'x', compression: 'gzip', sign: null };
const { directory } = config.retention.archive;
const writer = createArchive({ ...options, directory, table: table.shape, clock: Date.now });
for (const row of rows) writer.add(row);
const { sequence, sha256 } = await writer.finish((ids) => rows.filter(({ id }) => ids.includes(id)));
const archive = String(sequence).padStart(6, '0') + '-postern-t1-undated.manifest.json';
console.log(JSON.stringify({ archived: { archive, sha256, block: 0, below: 1e9 }, holds: [] }));
`;

const identities: ReadonlyArray<readonly [string, PosternOptions, string]> = [
  ['a user whose group may read', { umask: '0027', directoryMode: '750' }, 'posternproxy'],
  ['root, and nobody else may read', { user: 'root', umask: '0077', directoryMode: '700' }, 'root'],
];

describeHost('the unit that deletes archived rows', () => {
  let host: Host;
  beforeAll(async () => {
    host = await bootHost({
      suite: 'bookworm',
      name: 'purge-unit',
      node: false,
      binds: [`${release()}:/release:ro`],
    });
    await unpack(host);
  });
  afterAll(() => host.stop());

  const sql = async (user: string, text: string) =>
    (
      await host.exec(['runuser', '-u', user, '--', 'sqlite3', '-cmd', '.timeout 5000', DATABASE, text])
    ).stdout.trim();

  it.each(identities)(
    'the purge unit deletes only old rows as %s, while Postern keeps writing',
    async (_, postern, owner) => {
      await host.exec(`systemctl stop posternproxy 2>/dev/null; rm -rf ${DATABASE.replace(/\/[^/]*$/, '')}`, {
        check: false,
      });
      await startPostern(host, postern);
      await sql(owner, rows(500));
      await sql(owner, rows(300));
      await sql(
        owner,
        `INSERT INTO audit_log (created_at, action) VALUES ('yesterday', 'update'), (datetime('now', '+2 years'), 'update'), (datetime('now'), 'update')`,
      );
      await sql(
        owner,
        `INSERT INTO audit_log (created_at, action, user_email) VALUES (datetime('now', '-500 days'), 'update', 'held@example.net'), (datetime('now'), 'update', NULL)`,
      );
      await install(host, '--no-fail2ban');
      await host.exec(
        `printf 'retention: { enabled: true, keep: { default: 1y } }\\n' >>${CONFIG}.new; sed '/^retention:/,$d' ${CONFIG} >>${CONFIG}.new; mv ${CONFIG}.new ${CONFIG}; systemctl reload postern-auditd`,
      );
      expect((await host.exec(`stat -c '%A %U' ${SOCKET}`)).stdout.trim()).toMatch(/^srw------- /);
      await host.waitFor('postern-auditd status --json', (out) => out.includes('"next": "20'));
      await host.exec("postern-auditd retain hold --user held@example.net --reason 'case 4711'");
      const said = await host.exec('postern-auditd retain --now');
      expect(said.stdout).toMatch(/^5 rows removed, \d archives? written/);
      expect(await sql(owner, "SELECT count(*) FROM audit_log WHERE resource_type = 'stream'")).toBe('5');
      expect(await sql(owner, 'SELECT count(*) FROM audit_log')).toBe('10');
      expect(await sql(owner, "SELECT count(*) FROM audit_log WHERE user_email = 'held@example.net'")).toBe(
        '1',
      );
      expect((await host.exec(`ls /var/lib/postern-auditd/archive`)).stdout).toMatch(/^000001-postern-t1-/m);
      // The view of its process: it can read archives, and nothing else of the daemon's.
      const inside = await host.exec(
        `pid=$(systemctl show -p MainPID --value postern-auditd-purge); nsenter -t $pid -m sh -c 'ls -A /var/lib/postern-auditd /run/postern-auditd; touch /var/lib/postern-auditd/archive/x'; grep ^Groups /proc/$pid/status`,
        { check: false },
      );
      expect(inside.stdout).toMatch(
        /^\/run\/postern-auditd:\n\n\/var\/lib\/postern-auditd:\narchive\nGroups:/,
      );
      expect(inside.stderr).toContain('Read-only file system');
      const unit = await host.exec(
        `stat -c %U ${DATABASE} ${DATABASE}-wal; journalctl -u postern-auditd-purge --no-pager`,
      );
      expect(unit.stdout.split('\n').slice(0, 2)).toEqual([owner, owner]);

      await recordFailures(host, '10.77.99.1', 1);
      await host.waitFor('cat /var/log/posternproxy/audit/audit.*.log', (out) =>
        out.includes('"ip":"10.77.99.1"'),
      );
      await expectOnlyDatabase(host, postern);
    },
  );

  it('the purge accepts requests only from the daemon, and never deletes a row that is too young', async () => {
    await startPostern(host, { user: 'root', again: true });
    const ask = (user: string, request: string) =>
      host.exec(
        [
          'runuser',
          '-u',
          user,
          '--',
          '/opt/postern-auditd/node/bin/node',
          '-e',
          `const s = require('net').connect('${SOCKET}'); s.on('error', (e) => console.log(e.code)); s.on('data', (d) => { console.log(String(d)); s.end(); }); s.write(process.argv[1] + '\\n')`,
          request,
        ],
        { check: false },
      );
    const before = await sql('root', 'SELECT count(*) FROM audit_log');
    expect((await ask('nobody', '{"probe":true}')).stdout.trim()).toBe('EACCES');
    // An archive of all rows, as a compromised daemon could create it.
    await putModules(host);
    await host.exec(`cat >/tmp/forge.mjs <<'TEXT'\n${FORGE}\nTEXT`);
    const forged = await host.exec([
      'runuser',
      '-u',
      'postern-auditd',
      '--',
      '/opt/postern-auditd/node/bin/node',
      '/tmp/forge.mjs',
      DATABASE,
    ]);
    expect((await ask('postern-auditd', forged.stdout.trim())).stdout).toMatch(
      new RegExp(`"deleted":0,.*"young":${Number(before) - 1},.*"legal_hold":1,`),
    );
    const other = forged.stdout.trim().replace(/"sha256":"../, '"sha256":"00');
    expect((await ask('postern-auditd', other)).stdout).toContain('not the one that was written');
    expect((await ask('postern-auditd', '{"sql":"DELETE FROM audit_log"}')).stdout).toContain(
      'does not know the request',
    );
    expect(await sql('root', 'SELECT count(*) FROM audit_log')).toBe(before);
  });

  it('check reports a missing socket of the purge', async () => {
    const check = async () => (await host.exec('postern-auditd check', { check: false })).stdout;
    expect(await check()).toMatch(/^ {2}ok +on, .*archives in /m);
    await host.exec('systemctl stop postern-auditd-purge.socket; rm -f /run/postern-auditd-purge.sock');
    expect(await check()).toMatch(
      /^ {2}error +\/run\/postern-auditd-purge\.sock is missing: rows are archived but can't be removed\n +next: run install\.sh --reconfigure, or: systemctl enable --now postern-auditd-purge\.socket/m,
    );
    await host.exec('systemctl start postern-auditd-purge.socket');
    expect(await check()).not.toContain('postern-auditd-purge.sock is missing');
  });

  it('--uninstall removes the purge unit', async () => {
    await install(host, '--uninstall', { from: '/opt/postern-auditd' });
    expect((await host.exec('ls /etc/systemd/system /run')).stdout).not.toContain('postern-auditd-purge');
  });
});
