import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, expect, it } from 'vitest';
import { bootHost, describeHost, type Host } from './host.js';
import { DATABASE, install, release, startPostern, unpack } from './release.js';

// What is faked: CLOCK_REALTIME of the daemon and of its purge, by libfaketime, since a container can't set its own. It leaves
// CLOCK_MONOTONIC and CLOCK_BOOTTIME alone: these are the kernel's, in one guest those of a time namespace, in which a boot is so
// long ago as the test says. The boot's id is the guest's own. Whether the clock is synchronised is asked by the installed unit of a
// real systemd-timedated; what the kernel answers to that is put there by a seccomp filter, as no clock of a container ever is.
// The hosts run side by side, as each waits most of the time.

const FAKETIME = '/usr/lib/x86_64-linux-gnu/faketime';
const CLOCK = '/etc/clock';
const CONFIG = '/etc/postern-auditd/config.yml';
const FORWARD = 400 * 86_400;
const RUN_ROWS = 2_000;
/** Archives that are kept for 7 years are past that by a clock that is so far ahead. */
const AHEAD = 2_950 * 86_400;
const DAY_AND_MORE = 90_000;
/** Of rows that may go. */
const OLD_MONTHS = 3;
const STATE = '/var/lib/postern-auditd';

/** SQL of a time of so many days ago, in each form that `created_at` may have. */
const forms = {
  SQLite: (at: string) => `datetime(${at}, 'unixepoch')`,
  'ISO 8601': (at: string) => `strftime('%Y-%m-%dT%H:%M:%fZ', ${at}, 'unixepoch')`,
  'ISO 8601 with an offset': (at: string) =>
    `strftime('%Y-%m-%dT%H:%M:%S', ${at} + 19800, 'unixepoch') || '+05:30'`,
  'epoch seconds': (at: string) => `${at}`,
  'epoch milliseconds': (at: string) => `(${at}) * 1000`,
} as const;
type Form = (at: string) => string;
const every = Object.values(forms);

const UNREADABLE = ['yesterday', '', '2025-13-45 99:99:99', '1e400', '99999999999999999999', 'NULL'];

/** One form of time in the whole table; all of them; none that can be read. */
const tables: ReadonlyArray<readonly [name: string, forms: readonly Form[]]> = [
  ...Object.entries(forms).map(([name, form]) => [name, [form]] as const),
  ['mixed', every],
  ['unreadable', []],
];

/** What may go is marked: days ago, resource type, mark. Logins are kept for 90 days, all else for a year. */
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

/** @param base seconds that the clock is ahead of the true one: so old are the rows by it, whatever they are in truth */
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

  /** Seconds beside the true time. */
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

  /** A minute is over: the daemon finds that at its next look, which is at once behind a start. */
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

  /** Every row that was ever written is in the table or in one archive, and only old ones are in archives. */
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

  /** Runs on its schedule, is stopped in the middle of one, and goes on: what is old goes, and nothing else. */
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

  /** Runs now. @returns what the command says */
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

  /** The machine starts again, with its clock so many seconds beside the true time, and has run for `up` seconds at once. */
  async reboot(seconds: number, up: number): Promise<void> {
    await this.setClock(seconds);
    await this.host.reboot(up);
    await startPostern(this.host, { again: true });
    await this.host.exec('systemctl start postern-auditd');
  }

  /** Archives, and a clock that is years ahead when the machine has started again. */
  async clocks(): Promise<void> {
    const { host } = this;
    const form = forms.SQLite;
    await this.sql(`BEGIN;\n${rows([form])}${newest([form])}COMMIT;`);
    // Runs come by command from here on, but for one that is missed. Rows that have just come are first delivered.
    await host.exec(`sed -i 's/"[* ]*"/"0 0 29 2 *"/' ${CONFIG} && systemctl reload postern-auditd`);
    await host.waitFor('postern-auditd status --json', (out) => out.includes('-02-29T00:00:00'));
    const made = `postern-auditd retain --now >/dev/null; ls ${STATE}/archive/*-postern-*.gz | wc -l`;
    await host.waitFor(made, (out) => Number(out) === OLD_MONTHS);
    // A run that finds Postern stopped tries again after a quarter of an hour: at a boot it is not to come first.
    await host.exec('systemctl disable postern-auditd');
    const first = await this.archives();
    const all = async () => expect(await this.archives()).toEqual(expect.arrayContaining(first));

    // The run that was missed, by a clock of 8 years later. Then Postern's next row says so too.
    await this.reboot(AHEAD, 60);
    await this.said('retention run finished');
    await all();
    const [expired] = await this.events('archive_expire');
    expect(expired).toMatchObject({ goes_after_hours: 24, archives_removed: 0 });
    await this.sql(newest([form], AHEAD));
    expect(await this.runNow()).toContain('the oldest can be removed after 24 h more of running time');
    await all();
    const second = (await this.archives()).filter((name) => !first.includes(name));

    // Nor without state.db, which knew when that was written down.
    await host.exec(
      `systemctl stop postern-auditd && rm ${STATE}/state.db* && systemctl start postern-auditd`,
    );
    expect(await this.runNow()).toContain('the oldest can be removed after 24 h more of running time');
    await all();

    // A day later the clock agrees with itself. What timesyncd left would say that it is right; the kernel says that it is not.
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

    // What was said of the clock counts no more where the machine was off. Then the kernel says that it is right.
    await host.exec(`sed -i 's/keep: 7y/keep: 1d/' ${CONFIG} && systemctl reload postern-auditd`);
    expect(await this.runNow()).toContain('the oldest can be removed after 24 h more of running time');
    await this.reboot(AHEAD + 3 * DAY_AND_MORE, DAY_AND_MORE);
    expect(await this.runNow()).toContain('stay: the kernel does not report a synchronised clock');
    expect(await this.archives()).toEqual(expect.arrayContaining(second));
    // To adjtimex(2) with an empty answer (no error, no state), which is what timedated takes for a clock that is kept.
    await host.write(
      '/etc/systemd/system/systemd-timedated.service.d/synchronised.conf',
      '[Service]\nSystemCallFilter=\nSystemCallFilter=~adjtimex:0 clock_adjtime:0\n',
    );
    await host.exec('systemctl daemon-reload && systemctl stop systemd-timedated');
    await this.runNow();
    // But for one with events of the state.db that is lost: their ids were given out again, to events that are younger.
    const postern = (name: string) => name.includes('-postern-');
    expect((await this.archives()).filter(postern)).toEqual([]);
    expect(second.filter(postern).length).toBeGreaterThan(0);
    expect((await host.exec('postern-auditd archive verify')).code).toBe(0);
  }

  /** By a clock that is 400 days ahead, and rows that say so too, all is old; for a day nothing goes. */
  async waits(): Promise<void> {
    const { host, some } = this;
    const all = async () => Number(await this.sql('SELECT count(*) FROM audit_log'));
    await this.setClock(FORWARD);
    await this.sql(`BEGIN;\n${rows(some, 0)}${newest(some, FORWARD)}COMMIT;`);
    const before = await all();
    await this.said('retention waits: the clock was set forward by 9600 h'); // a look of its own, at which a run is due
    await this.setClock(FORWARD + 90);
    await host.exec('systemctl restart postern-auditd');
    await sleep(1_500); // the first look
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

describeHost('retention every minute, with the unit that purges', () => {
  const hosts: Host[] = [];
  afterAll(() => Promise.all(hosts.map((host) => host.stop())));

  it('over restarts and a clock set forward and back, in every form of time: nothing too young goes, and each row is in the table or in one archive; archives outlast a clock that is years ahead after a start of the machine', async () => {
    const binds = [`${release()}:/release:ro`, `${FAKETIME}:/faketime:ro`];
    await Promise.all(
      tables.map(async ([, some], at) => {
        const host = await bootHost({ suite: 'bookworm', name: `retention-${at}`, node: false, binds });
        hosts.push(host);
        const guest = new Guest(host, some);
        await guest.prepare();
        await guest.runs();
        await (some.length > 0 ? guest.waits() : guest.clocks());
      }),
    );
  });
});
