import { readFileSync, writeFileSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import { ApiRig } from '../api/api-fixture.js';
import { DaemonRig } from '../daemon/daemon-fixture.js';
import { run } from './cli.js';

/** As SQLite writes a time. */
function written(time: number): string {
  return new Date(time).toISOString().slice(0, 19).replace('T', ' ');
}

interface Row {
  readonly time?: string;
  readonly address?: string | null;
  readonly server?: string | null;
}

describe('where nobody could ever be banned', () => {
  let rig: DaemonRig;
  afterEach(() => rig?.close());

  /** Failed logins as another version of Postern writes them. `address` is the column's name. */
  function insert(rows: readonly Row[], address = 'ip_address'): void {
    const statement = rig.db.prepare(
      `INSERT INTO audit_log (created_at, action, resource_type, ${address}, server) VALUES (?, 'login_failure', 'auth', ?, ?)`,
    );
    for (const { time = written(Date.now()), address: value = '203.0.113.7', server = null } of rows)
      statement.run(time, value, server);
  }

  const check = () => run(['check', '--config', rig.configPath, '--json']);
  const database = () => {
    const { sections } = JSON.parse(check().out) as {
      sections: Array<{ name: string; findings: Array<{ level: string; what: string; next?: string }> }>;
    };
    return sections.find(({ name }) => name === 'Database')?.findings ?? [];
  };
  const silent = () => database().filter(({ what }) => what.includes('fail2ban receives too few'));
  const explain = (id: number) => run(['explain', String(id), '--config', rig.configPath]).out;
  const twelve = (row: Row) => Array.from({ length: 12 }, () => row);
  const hours = (n: number) => written(Date.now() + n * 3_600_000);

  it('check reports it from the table, with the reason and the key, while no daemon runs', () => {
    rig = new DaemonRig();
    rig.db.exec('ALTER TABLE audit_log RENAME COLUMN ip_address TO ip');
    insert(twelve({}), 'ip');
    expect(silent()).toEqual([
      {
        level: 'error',
        what: 'fail2ban receives too few failed logins to ban anybody: all 12 recent ones have no client address, but column "ip" has "203.0.113.7"',
        next: 'set source.columns.ip_address: ip',
      },
    ]);
    expect(check().code).toBe(1);
    expect(explain(12)).toMatch(
      /auth +fail2ban +withholds it: it has no client address that can be banned\n/,
    );
    expect(explain(12)).not.toMatch(/auth.*delivered|counts against/);
  });

  it.each<[string, () => Row, RegExp, RegExp, RegExp]>([
    [
      'times of two hours ahead',
      () => ({ time: hours(2) }),
      /ahead of this host's clock, by 1[12]\d min/,
      /source\.time_zone/,
      /withholds it: its time is more than 5 s ahead of the clock/,
    ],
    [
      'times that can not be read',
      () => ({ time: 'Monday morning' }),
      /can't be read, such as "Monday morning"/,
      /source\.columns\.created_at/,
      /withholds it: its time can't be read/,
    ],
    [
      'lists of X-Forwarded-For',
      () => ({ address: '203.0.113.7, 172.18.0.1' }),
      /have a list of addresses, "203\.0\.113\.7, 172\.18\.0\.1"/,
      /source\.trusted_proxies/,
      /withholds it: it has no client address/,
    ],
    [
      "a container's id for the server",
      () => ({ server: '3f2a9c1b7d04' }),
      /name the server "3f2a9c1b7d04", and none names this one/,
      /server:/,
      /withholds it: it happened on another server/,
    ],
  ])('check names %s, and explain gives the reason', (_, row, what, next, why) => {
    rig = new DaemonRig();
    insert(twelve(row()));
    const [finding, ...more] = silent();
    expect(more).toEqual([]);
    expect(finding?.level).toBe('error');
    expect(finding?.what).toMatch(what);
    expect(finding?.next).toMatch(next);
    expect(explain(12)).toMatch(why);
    expect(explain(12)).not.toMatch(/auth +fail2ban.*delivered|counts against/);
  });

  it.each<[string, () => Row[]]>([
    ['old failed logins', () => twelve({ time: hours(-400) })],
    ['a stray row', () => [...twelve({}), { address: 'x' }]],
    ['rows from before it was mended', () => [...twelve({ address: null }), {}, {}, {}]],
    ['addresses in never_ban', () => twelve({ address: '127.0.0.1' })],
    ['a table of several servers', () => [...twelve({ server: 'b' }), { server: 'c' }]],
    ['no failed logins', () => []],
  ])('check has no false alarm for %s', (_, rows) => {
    rig = new DaemonRig();
    insert(rows());
    expect(silent()).toEqual([]);
  });

  it('counts the failed logins that have no address', () => {
    rig = new DaemonRig();
    insert([{ address: null }, { address: null }]);
    expect(database().at(-1)?.what).toMatch(/^0 logins and 2 failed logins in the newest rows/);
  });

  it('explain reports an old row with a line in the pair as delivered, and a late one as withheld', async () => {
    rig = new DaemonRig();
    await rig.start();
    await rig.until(({ sinks }) => sinks.auth?.state === 'waiting for events', 'the pair is there');
    insert([{}, { time: written(Date.now() - 55_000) }]);
    await rig.until(({ sinks }) => Number(sinks.auth?.figures.withheld_old_total) === 1, 'both are decided');
    expect(explain(1)).toMatch(/auth +fail2ban +takes it: delivered/);
  });
});

describe('the daemon where nobody could ever be banned', () => {
  let rig: ApiRig;
  afterEach(() => rig?.close());

  it('reports it once by log, event, status, metric and page, and once that it is over', async () => {
    rig = await ApiRig.start();
    const { daemon } = rig;
    daemon.db.exec('ALTER TABLE audit_log RENAME COLUMN ip_address TO ip');
    const insert = (n: number) => {
      for (; n > 0; n--)
        daemon.db
          .prepare(
            "INSERT INTO audit_log (created_at, action, resource_type, ip) VALUES (?, 'login_failure', 'auth', '203.0.113.7')",
          )
          .run(written(Date.now()));
    };
    const silence = async () =>
      ((await daemon.status()) as unknown as { silence: { reason: string } | null }).silence;
    // What stands in the table when the sink opens is its past, and no alarm.
    await daemon.until(({ sinks }) => sinks.auth?.state === 'waiting for events', 'the sink is open');
    insert(4);
    await expect.poll(async () => (await silence())?.reason, { timeout: 90_000 }).toBe('no_address');
    const events = (action: string) => daemon.auditLines().filter((line) => line.action === action);
    await expect.poll(() => events('daemon.failures_withheld').length, { timeout: 60_000 }).toBe(1);
    expect(events('daemon.failures_withheld')[0]?.details).toMatchObject({
      reason: 'no_address',
      withheld: 4,
    });
    expect(daemon.output.match(/fail2ban receives too few/g)).toHaveLength(1);

    const token = await rig.token('reader');
    const metric = async (reason: string) =>
      new RegExp(`^postern_auditd_failures_withheld\\{reason="${reason}"\\} (\\d)$`, 'm').exec(
        (await rig.ask('/metrics', token)).text,
      )?.[1];
    expect([await metric('no_address'), await metric('old')]).toEqual(['1', '0']);
    const page = (await rig.ask('/audit-log', token)).text;
    expect(page).toMatch(
      /class="notice bad" role="alert" id="silence">Fail2ban receives too few failed logins/,
    );
    expect(page).toContain('source.columns.ip_address');
    const status = run(['status', '--config', daemon.configPath]);
    expect(status.code).toBe(1);
    expect(status.out).toMatch(/no bans: fail2ban receives too few/);
    expect(run(['check', '--config', daemon.configPath]).out).toMatch(
      /next: +set source\.columns\.ip_address: ip/,
    );

    const yaml = readFileSync(daemon.configPath, 'utf8');
    writeFileSync(daemon.configPath, yaml.replace('source: {', 'source: { columns: { ip_address: ip },'));
    daemon.child?.kill('SIGHUP');
    await expect.poll(() => silence(), { timeout: 60_000 }).toBeNull();
    insert(4);
    await daemon.until(({ sinks }) => Number(sinks.auth?.figures.written_total) >= 4, 'they are written');
    const over = () => {
      insert(1); // those that the sink finds at its opening count for nothing
      return events('daemon.failures_written').length;
    };
    await expect.poll(over, { timeout: 90_000, interval: 1_000 }).toBe(1);
    expect(await silence()).toBeNull();
    expect(events('daemon.failures_withheld')).toHaveLength(1);
  }, 240_000);
});
