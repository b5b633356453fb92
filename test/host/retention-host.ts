import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, expect, it } from 'vitest';
import { bootHost, describeHost, type Host } from './host.js';
import { DATABASE, install, release, startPostern, unpack } from './release.js';

// libfaketime fakes CLOCK_REALTIME of the daemon and of its purge, because a container can't set its own clock. It leaves
// CLOCK_MONOTONIC and CLOCK_BOOTTIME unchanged. They are the kernel's, in one guest those of a time namespace, which sets the
// time since the boot. The boot id is the guest's own. The installed unit asks a real systemd-timedated whether the clock is
// synchronised. A seccomp filter supplies the kernel's answer, as a container's clock is never synchronised.
// The hosts run in parallel, as each waits most of the time.

const FAKETIME = '/usr/lib/x86_64-linux-gnu/faketime';
const CLOCK = '/etc/clock';
const CONFIG = '/etc/postern-auditd/config.yml';
const FORWARD = 400 * 86_400;
const RUN_ROWS = 2_000;
/** By a clock this far ahead, archives kept for 7 years are past their age. */
const AHEAD = 2_950 * 86_400;
const DAY_AND_MORE = 90_000;
/** Mark of rows that may be removed. */
const OLD_MONTHS = 3;
const STATE = '/var/lib/postern-auditd';

/** SQL for a time in the past, in days, in each form that `created_at` may have. */
const forms = {
  SQLite: (at: string) => `datetime(${at}, 'unixepoch')`,
  'ISO 8601': (at: string) => `strftime('%Y-%m-%dT%H:%M:%fZ', ${at}, 'unixepoch')`,
  'ISO 8601 with an offset': (at: string) =>
    `strftime('%Y-%m-%dT%H:%M:%S', ${at} + 19800, 'unixepoch') || '+05:30'`,
  'epoch seconds': (at: string) => `${at}`,
  'epoch milliseconds': (at: string) => `(${at}) * 1000`,
} as const;
type Form = (at: string) => string;

const UNREADABLE = ['yesterday', '', '2025-13-45 99:99:99', '1e400', '99999999999999999999', 'NULL'];

/** The name of a host, and the forms of time that its table has. */
export type RetentionTable = readonly [name: string, forms: readonly Form[]];

/** All forms in one table, and a table of unreadable times only. */
export const MIXED: readonly RetentionTable[] = [
  ['mixed', Object.values(forms)],
  ['unreadable', []],
];

/** Each form in a table of its own. */
export const EACH: readonly RetentionTable[] = Object.values(forms).map((form, at) => [`form-${at}`, [form]]);

/** Rows as days ago, resource type, mark. Rows that may be removed are marked. Logins are kept for 90 days, everything else for a year. */
const AGES = [
  [900, 'stream', 'old'],
  [370, 'stream', 'old'],
  [120, 'auth', 'old'],
  [360, 'stream', 'stays'],
  [200, 'stream', 'stays'],
  [85, 'auth', 'stays'],
  [1, 'auth', 'stays'],
  [-30, 'stream', 'stays'],
  [-3_000, 'auth', 'stays'],
] as const;

function insert(created: string, type: string, mark: string): string {
  const action = type === 'auth' ? 'login_failure' : 'update';
  return `INSERT INTO audit_log (created_at, action, resource_type, resource_id) VALUES (${created}, '${action}', '${type}', '${mark}');\n`;
}

function ago(days: number, base = 0): string {
  return `(strftime('%s', 'now') + ${base - days * 86_400})`;
}

/** @param base seconds by which the clock is ahead of the true one; the ages of rows count from it */
function rows(some: readonly Form[], base = 0): string {
  const dated = AGES.map(([days, type, mark]) =>
    some.map((form) => insert(form(ago(days, base)), type, mark)),
  );
  const undated = UNREADABLE.map((text) => insert(`'${text}'`, 'stream', 'stays'));
  return [...dated.flat(), ...undated].join('');
}

/** The newest row, from which ages count. */
function newest(some: readonly Form[], base = 0): string {
  return some
    .slice(-1)
    .map((form) => insert(form(ago(0, base)), 'stream', 'stays'))
    .join('');
}

class Guest {
  constructor(
    private readonly host: Host,
    private readonly some: readonly Form[],
  ) {}

  async sql(text: string): Promise<string> {
    const command = ['runuser', '-u', 'posternproxy', '--', 'sqlite3', '-cmd', '.timeout 5000', DATABASE];
    return (await this.host.exec(command, { input: text })).stdout.trim();
  }

  /** Offset from the true time, in seconds. */
  setClock(seconds: number): Promise<unknown> {
    return this.host.exec(`printf '%+d\\n' ${seconds} >${CLOCK}.new && mv ${CLOCK}.new ${CLOCK}`);
  }

  async prepare(): Promise<void> {
    const { host, some } = this;
    await unpack(host);
    await startPostern(host);
    await this.sql(`BEGIN;\n${rows(some)}${newest(some)}COMMIT;`);
    await this.setClock(0);
    const clock = `[Service]\nEnvironment=LD_PRELOAD=/faketime/libfaketime.so.1 FAKETIME_TIMESTAMP_FILE=${CLOCK} FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1 FAKETIME_DISABLE_SHM=1\n`;
    for (const unit of ['postern-auditd', 'postern-auditd-purge'])
      await host.write(`/etc/systemd/system/${unit}.service.d/clock.conf`, clock);
    await install(host, '--no-fail2ban');
    await host.exec(
      `printf 'retention: { enabled: true, schedule: "* * * * *", keep: { default: 1y, auth: 90d }, archive: { keep: 7y } }\\n' >${CONFIG}; systemctl restart postern-auditd`,
    );
    await host.waitFor('postern-auditd status --json', (out) => out.includes('"next": "20'));
  }

  /** Lets a minute pass. The daemon notices that at its next check, which follows a start at once. */
  async nextMinute(seconds: number): Promise<void> {
    await this.setClock(seconds);
    await this.host.exec('systemctl restart postern-auditd');
  }

  said(text: string): Promise<unknown> {
    return this.host.waitFor(
      'journalctl -b -u postern-auditd -o cat --no-pager',
      (out) => out.includes(text),
      60,
    );
  }

  async count(mark: 'old' | 'stays'): Promise<number> {
    return Number(await this.sql(`SELECT count(*) FROM audit_log WHERE resource_id = '${mark}'`));
  }

  /** Checks that every row ever written is in the table or in one archive, and that only old rows are in archives. */
  async check(): Promise<void> {
    const written = Number(await this.sql("SELECT seq FROM sqlite_sequence WHERE name = 'audit_log'"));
    const kept = (await this.sql('SELECT id FROM audit_log')).split('\n').map(Number);
    const { stdout } = await this.host.exec(
      'cd /var/lib/postern-auditd/archive 2>/dev/null && for f in *-postern-*.gz; do [ ! -f "$f" ] || zcat "$f"; done; true',
    );
    const archived = stdout
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as { id: number; row: { resource_id: string } });
    const ids = [...kept, ...archived.map(({ id }) => id)].sort((a, b) => a - b);
    expect(ids).toEqual(Array.from({ length: written }, (_, at) => at + 1));
    expect(archived.filter(({ row }) => row.resource_id !== 'old')).toEqual([]);
  }

  /** Lets runs follow the schedule, stops the daemon in one, and continues: old rows are removed, and nothing else. */
  async runs(): Promise<void> {
    const stays = await this.count('stays');
    const old = this.some.length > 0;
    const runs = async (seconds: number) => {
      await this.nextMinute(seconds);
      await this.said('retention run finished');
      await this.host.waitFor('postern-auditd status --json', (out) => !out.includes('"state": "running"'));
    };
    await runs(61);
    expect(await this.count('old')).toBe(0);
    const [form = ''] = this.some.map((one) => one(`${ago(500)} + n`));
    if (old) {
      await this.sql(
        `BEGIN; WITH RECURSIVE c(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM c WHERE n < ${RUN_ROWS})
         INSERT INTO audit_log (created_at, action, resource_type, resource_id) SELECT ${form}, 'update', 'stream', 'old' FROM c;
         ${newest(this.some)} COMMIT;`,
      );
      await this.nextMinute(122);
      await this.host.waitFor(
        'ls /var/lib/postern-auditd/archive',
        (out) => /^000[0-9]*[2-9]-postern/m.test(out),
        60,
      );
      await this.nextMinute(183);
      await this.host.waitFor(
        `runuser -u posternproxy -- sqlite3 ${DATABASE} "SELECT count(*) FROM audit_log WHERE resource_id = 'old'"`,
        (out) => out.trim() === '0',
        60,
      );
    }
    expect(await this.count('stays')).toBe(stays + (old ? 1 : 0));
    await this.check();
  }

  /** Requests a run. @returns the output of the command */
  async runNow(): Promise<string> {
    return (await this.host.exec('postern-auditd retain --now')).stdout;
  }

  async archives(): Promise<string[]> {
    const { stdout } = await this.host.exec(`cd ${STATE}/archive && ls *.gz`, { check: false });
    return stdout.split('\n').filter((name) => name !== '');
  }

  /** Details of the daemon's events, the oldest first. */
  async events(action: string): Promise<Array<Record<string, unknown>>> {
    const sql = `SELECT details FROM audit_log WHERE action = '${action}' ORDER BY id`;
    const { stdout } = await this.host.exec(['sqlite3', `${STATE}/state.db`, sql]);
    return stdout
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  }

  /** Restarts the machine with its clock offset from the true time, and with an uptime of `up` seconds. */
  async reboot(seconds: number, up: number): Promise<void> {
    await this.setClock(seconds);
    await this.host.reboot(up);
    await startPostern(this.host, { again: true });
    await this.host.exec('systemctl start postern-auditd');
  }

  /** Checks archives with a clock that is years ahead after a restart of the machine. */
  async clocks(): Promise<void> {
    const { host } = this;
    const form = forms.SQLite;
    await this.sql(`BEGIN;\n${rows([form])}${newest([form])}COMMIT;`);
    // From here on, runs are started by command, except for a missed one. New rows are delivered first.
    await host.exec(`sed -i 's/"[* ]*"/"0 0 29 2 *"/' ${CONFIG} && systemctl reload postern-auditd`);
    await host.waitFor('postern-auditd status --json', (out) => out.includes('-02-29T00:00:00'));
    const made = `postern-auditd retain --now >/dev/null; ls ${STATE}/archive/*-postern-*.gz | wc -l`;
    await host.waitFor(made, (out) => Number(out) === OLD_MONTHS);
    // A run that finds Postern stopped retries after a quarter of an hour, so at a boot Postern must start first.
    await host.exec('systemctl disable postern-auditd');
    const first = await this.archives();
    const all = async () => expect(await this.archives()).toEqual(expect.arrayContaining(first));

    // The missed run, by a clock that is 8 years ahead. Then Postern's next row has that time too.
    await this.reboot(AHEAD, 60);
    await this.said('retention run finished');
    await all();
    const [expired] = await this.events('archive_expire');
    expect(expired).toMatchObject({ goes_after_hours: 24, archives_removed: 0 });
    await this.sql(newest([form], AHEAD));
    expect(await this.runNow()).toContain('the oldest can be removed after 24 h more of running time');
    await all();
    const second = (await this.archives()).filter((name) => !first.includes(name));

    // The same holds without state.db, which had recorded the time of that.
    await host.exec(
      `systemctl stop postern-auditd && rm ${STATE}/state.db* && systemctl start postern-auditd`,
    );
    expect(await this.runNow()).toContain('the oldest can be removed after 24 h more of running time');
    await all();

    // A day later the clock is consistent. timesyncd's leftover would confirm it, but the kernel does not.
    await this.reboot(AHEAD + DAY_AND_MORE, DAY_AND_MORE);
    await host.exec('install -D /dev/null /run/systemd/timesync/synchronized');
    expect(await this.runNow()).toContain('stay: the kernel does not report a synchronised clock');
    await all();
    expect(await this.events('archive_delete')).toEqual([]);
    await host.exec('postern-auditd retain --confirm-clock');
    await this.runNow();
    expect(await this.archives()).toEqual(second);
    const names = (one: Record<string, unknown>) => one.archives as Array<{ file: string }>;
    const deleted = (await this.events('archive_delete')).flatMap(names);
    expect(deleted.map(({ file }) => file)).toEqual(first);

    // A confirmation of the clock is void after the machine was off. Then the kernel confirms it.
    await host.exec(`sed -i 's/keep: 7y/keep: 1d/' ${CONFIG} && systemctl reload postern-auditd`);
    expect(await this.runNow()).toContain('the oldest can be removed after 24 h more of running time');
    await this.reboot(AHEAD + 3 * DAY_AND_MORE, DAY_AND_MORE);
    expect(await this.runNow()).toContain('stay: the kernel does not report a synchronised clock');
    expect(await this.archives()).toEqual(expect.arrayContaining(second));
    // The filter gives adjtimex(2) an empty result (no error, no state), which timedated takes for a synchronised clock.
    await host.write(
      '/etc/systemd/system/systemd-timedated.service.d/synchronised.conf',
      '[Service]\nSystemCallFilter=\nSystemCallFilter=~adjtimex:0 clock_adjtime:0\n',
    );
    await host.exec('systemctl daemon-reload && systemctl stop systemd-timedated');
    await this.runNow();
    // Except one with events of the lost state.db: their ids were reused for younger events.
    const postern = (name: string) => name.includes('-postern-');
    expect((await this.archives()).filter(postern)).toEqual([]);
    expect(second.filter(postern).length).toBeGreaterThan(0);
    expect((await host.exec('postern-auditd archive verify')).code).toBe(0);
  }

  /** By a clock that is 400 days ahead, with rows of that time, everything is old, but for a day nothing is removed. */
  async waits(): Promise<void> {
    const { host, some } = this;
    const all = async () => Number(await this.sql('SELECT count(*) FROM audit_log'));
    await this.setClock(FORWARD);
    await this.sql(`BEGIN;\n${rows(some, 0)}${newest(some, FORWARD)}COMMIT;`);
    const before = await all();
    await this.said('retention waits: the clock was set forward by 9600 h'); // a separate check, at which a run is due
    await this.setClock(FORWARD + 90);
    await host.exec('systemctl restart postern-auditd');
    await sleep(1_500); // the first check
    const asked = await host.exec('postern-auditd retain --now', { check: false });
    expect([asked.code, asked.stderr]).toEqual([1, expect.stringContaining('set forward by 9600 h')]);
    expect(await all()).toBe(before);
    await host.exec('systemctl stop postern-auditd');
    await this.setClock(0);
    await host.exec('systemctl start postern-auditd');
    await this.said('retention waits: the clock was set back by 9600 h');
    await sleep(1_500);
    expect(await all()).toBe(before);
    await this.check();
    expect((await host.exec('postern-auditd archive verify')).code).toBe(0);
  }
}

/** Boots a host for each table, all at once, and checks it by its runs of retention. */
export function describeRetention(tables: readonly RetentionTable[]): void {
  describeHost('retention every minute, with the unit that purges', () => {
    const hosts: Host[] = [];
    afterAll(() => Promise.all(hosts.map((host) => host.stop())));

    it('retention across restarts and clock changes removes nothing too young, and each row is in the table or in one archive; archives outlast a clock that is years ahead after a restart of the machine', async () => {
      const binds = [`${release()}:/release:ro`, `${FAKETIME}:/faketime:ro`];
      await Promise.all(
        tables.map(async ([name, some]) => {
          const host = await bootHost({ suite: 'bookworm', name: `retention-${name}`, node: false, binds });
          hosts.push(host);
          const guest = new Guest(host, some);
          await guest.prepare();
          await guest.runs();
          await (some.length > 0 ? guest.waits() : guest.clocks());
        }),
      );
    });
  });
}
