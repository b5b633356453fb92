import fs from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { AuditEvent } from '../../../src/audit/event.js';
import { fail2banSink } from '../../../src/config/schema.js';
import { createFail2banSink } from '../../../src/sinks/files/fail2ban-sink.js';
import type { Batch, Sink } from '../../../src/sinks/sink.js';
import { formatEarlierEcs } from '../../formats/earlier-ecs.js';
import {
  batch,
  dependencies,
  fail2banConfig,
  failure,
  NEVER,
  NOON,
  pairText,
  range,
  sequences,
  temporaryDirectory,
} from './files-fixture.js';

let directory: string;
let sinks: Sink[];

beforeEach(() => {
  directory = temporaryDirectory();
  sinks = [];
});

afterEach(async () => {
  for (const sink of sinks) await sink.close();
  fs.rmSync(directory, { recursive: true, force: true });
});

const auth = (): string => path.join(directory, 'auth');
const slot = (n: number): string => path.join(auth(), `fail2ban.${n}.log`);
const one = (event: AuditEvent): Batch => {
  const { source, timeline, sequence } = event;
  return { source, timeline, events: [event], upTo: sequence };
};
const read = (n: number): string => fs.readFileSync(slot(n), 'utf8');
const text = (): string => pairText(auth());
const firstLine = (n: number): string => read(n).split('\n', 1)[0] ?? '';

function make(
  size = '20M',
  jail: { never_ban?: string[]; ipv6_prefix?: number } = {},
  given = dependencies(),
) {
  const sink = createFail2banSink(
    fail2banConfig(auth(), size),
    { never_ban: [], ipv6_prefix: 128, ...jail },
    given.deps,
  );
  sinks.push(sink);
  return { sink, ...given };
}

describe('the fail2ban sink', () => {
  it('the fail2ban sink creates both files with different first lines before the first failure', async () => {
    await make().sink.open(null);
    expect(fs.readdirSync(auth()).sort()).toEqual(['fail2ban.0.log', 'fail2ban.1.log']);
    expect(firstLine(0)).not.toBe(firstLine(1));
    for (const n of [0, 1])
      expect(JSON.parse(firstLine(n))).toMatchObject({ event: { action: 'daemon.log_opened' } });
    expect(fs.statSync(slot(0)).mode & 0o777).toBe(0o640);
  });

  it('the fail2ban sink writes fresh failed logins of this server, and counts withheld ones by reason', async () => {
    const { sink } = make('20M', { never_ban: ['198.51.100.0/24'] });
    await sink.open(null);
    const other = { ...failure(1).type, action: 'auth.login_success', outcome: 'success' as const };
    const events = [
      failure(1),
      failure(2, { type: other, action: 'auth.login_success' }),
      failure(3, { time: NOON - 50_000 }),
      failure(4, { time: NOON - 50_001 }),
      failure(5, { time: NOON + 5_000 }),
      failure(6, { time: NOON + 5_001 }),
      failure(7, { time: null, rawTime: 'yesterday' }),
      failure(8, { address: null, rawAddress: '999.1.1.1' }),
      failure(9, { local: false, server: 'elsewhere' }),
      failure(10, { address: '198.51.100.9' }),
      failure(11, { type: { ...failure(1).type, category: 'ban' } }),
    ];
    const { upTo } = await sink.deliver({ source: 'postern', timeline: 1, events, upTo: 20 }, NEVER);
    expect(upTo).toBe(20);
    expect(sequences(text())).toEqual([1, 3, 5]);
    expect(sink.figures()).toMatchObject({
      written_total: 3,
      withheld_old_total: 1,
      withheld_future_total: 1,
      withheld_unreadable_total: 1,
      withheld_no_address_total: 1,
      withheld_other_server_total: 1,
      withheld_never_ban_total: 1,
    });
  });

  it("the fail2ban sink writes failed logins at the daemon's own API, too", async () => {
    const { sink } = make();
    await sink.open(null);
    await sink.deliver(batch(1, 2, { source: 'auditd' }), NEVER);
    expect(sequences(text(), 'auditd')).toEqual([1, 2]);
  });

  it("the fail2ban sink bans an IPv6 attacker's network, unless it has an address that must never be banned", async () => {
    const { sink } = make('20M', { ipv6_prefix: 64, never_ban: ['2001:db8:1::5', '192.0.2.0/24'] });
    await sink.open(null);
    const events = ['2001:db8:2::1', '2001:db8:1::1', '203.0.113.7'].map((address, i) =>
      failure(i + 1, { address }),
    );
    await sink.deliver({ source: 'postern', timeline: 1, events, upTo: 3 }, NEVER);
    const addresses = [...text().matchAll(/"source":\{"ip":"([^"]+)"/g)].map((match) => match[1]);
    expect(addresses).toEqual(['2001:db8:2::/64', '2001:db8:1::1', '203.0.113.7']);
  });

  it('the fail2ban sink continues in the active file after a restart', async () => {
    const first = make().sink;
    await first.open(null);
    await first.deliver(batch(1, 5), NEVER);
    await first.close();
    const headers = [firstLine(0), firstLine(1)];
    const second = make().sink;
    await second.open(null);
    await second.deliver(batch(1, 9), NEVER); // without a cursor all that is fresh is given again
    expect([firstLine(0), firstLine(1)]).toEqual(headers);
    expect(sequences(text())).toEqual(range(1, 9));
  });

  it('the fail2ban sink switches to the other file with a new header when one is full, but not within a minute', async () => {
    const { sink, time } = make('1K');
    await sink.open(null);
    const active = sink.figures().file;
    await sink.deliver(batch(1, 5), NEVER);
    time.now += 59_999;
    await sink.deliver(batch(6, 9, { time: time.now }), NEVER);
    expect(sink.figures().file).toBe(active);
    time.now += 1;
    const headers = [firstLine(0), firstLine(1)];
    await sink.deliver(batch(10, 19, { time: time.now }), NEVER);
    expect(sink.figures().file).not.toBe(active);
    expect([firstLine(0), firstLine(1)].filter((line) => headers.includes(line))).toHaveLength(1);
    expect(sequences(text())).toEqual(range(1, 19));
    time.now += 59_999;
    await sink.deliver(batch(20, 20, { time: time.now }), NEVER);
    expect(sequences(text())).toEqual(range(1, 20));
  });

  it('the fail2ban sink waits a minute between files, across a restart and if the clock is set back', async () => {
    const given = dependencies();
    const first = make('1K', {}, given).sink;
    await first.open(null);
    await first.deliver(batch(1, 5), NEVER);
    const active = first.figures().file;
    await first.close();
    const { sink } = make('1K', {}, given);
    given.time.now += 30_000;
    await sink.open(null);
    await sink.tick?.();
    expect(sink.figures().file).toBe(active);
    given.time.now -= 86_400_000;
    await sink.tick?.();
    given.time.now += 59_000;
    await sink.tick?.();
    expect(sink.figures().file).toBe(active);
    given.time.now += 1_000;
    await sink.tick?.();
    expect(sink.figures().file).not.toBe(active);
  });

  it('the fail2ban sink knows lines written before a crash on both sides of a rotation', async () => {
    const first = make('1K');
    await first.sink.open(null);
    await first.sink.deliver(batch(1, 5), NEVER);
    first.time.now += 60_000;
    await first.sink.deliver(batch(6, 8, { time: first.time.now }), NEVER);
    await first.sink.close();
    const { sink } = make('1K', {}, first);
    await sink.open(null);
    await sink.deliver(batch(6, 8, { time: first.time.now }), NEVER);
    await sink.deliver(batch(9, 9, { time: first.time.now }), NEVER);
    expect(sequences(text())).toEqual(range(1, 9));
  });

  it('the fail2ban sink continues in the new file after a crash between the rename and the first line', async () => {
    const first = make('1K');
    await first.sink.open(null);
    await first.sink.deliver(batch(1, 5), NEVER);
    const old = first.sink.figures().file;
    first.time.now += 60_000;
    await first.sink.tick?.(); // rolls; what it returns is never saved
    await first.sink.close();
    const { sink } = make('1K', {}, first);
    await sink.open(null);
    expect(sink.figures().file).not.toBe(old);
    await sink.deliver(batch(6, 8, { time: first.time.now }), NEVER);
    expect(sequences(text())).toEqual(range(1, 8));
  });

  it('the fail2ban sink ignores a new file that was not renamed yet', async () => {
    const first = make().sink;
    await first.open(null);
    await first.deliver(batch(1, 5), NEVER);
    await first.close();
    fs.writeFileSync(path.join(auth(), '.fail2ban.new'), '{"@times');
    const { sink, time } = make('1K');
    await sink.open(null);
    time.now += 60_000;
    await sink.deliver(batch(6, 8, { time: time.now }), NEVER);
    expect(fs.readdirSync(auth()).sort()).toEqual(['fail2ban.0.log', 'fail2ban.1.log']);
    expect(sequences(text())).toEqual(range(1, 8));
  });

  it.each([
    ['the active file', (active: string, _idle: string) => fs.unlinkSync(active), range(6, 9)],
    ['the idle file', (_active: string, idle: string) => fs.unlinkSync(idle), range(1, 9)],
    ['the directory', () => fs.rmSync(auth(), { recursive: true }), range(6, 9)],
  ])('the fail2ban sink recreates both files when %s is removed', async (_, remove, left) => {
    const { sink } = make();
    await sink.open(null);
    await sink.deliver(batch(1, 5), NEVER);
    const active = String(sink.figures().file);
    remove(active, active === slot(0) ? slot(1) : slot(0));
    await sink.tick?.();
    await sink.deliver(batch(6, 9), NEVER);
    expect(sink.figures().file).toBe(active);
    expect(firstLine(0)).not.toBe(firstLine(1));
    expect(sequences(text())).toEqual(left);
  });

  it('the fail2ban sink starts with empty files created by install.sh', async () => {
    fs.mkdirSync(auth());
    for (const n of [0, 1]) fs.writeFileSync(slot(n), '');
    const { sink } = make();
    await sink.open(null);
    await sink.deliver(batch(1, 5), NEVER);
    expect(sequences(text())).toEqual(range(1, 5));
  });

  it('a failure delivered repeatedly is written once, identified by source, row id, time and banned address', async () => {
    const { sink, time } = make('20M', { ipv6_prefix: 64 });
    await sink.open(null);
    const rows = [
      failure(1),
      failure(2, { address: '2001:db8:2::1' }),
      failure(2, { address: '2001:db8:2::9' }), // of the network that stands there
      failure(1, { time: NOON + 1, timeline: 2 }), // the row of another history
      failure(1, { address: '203.0.113.8', timeline: 3 }),
      failure(1, { source: 'auditd' }),
      failure(1, { source: 'fleet', local: false }),
    ];
    for (const event of [...rows, ...rows]) await sink.deliver(one(event), NEVER);
    expect(
      text()
        .split('\n')
        .filter((line) => line.includes('login_failure')),
    ).toHaveLength(6);
    await sink.close();
    const again = make('20M', { ipv6_prefix: 64 }).sink;
    time.now += 40_000;
    await again.open(null);
    for (const event of rows) await again.deliver(one(event), NEVER);
    expect(
      text()
        .split('\n')
        .filter((line) => line.includes('login_failure')),
    ).toHaveLength(6);
    expect(again.figures()).toMatchObject({ written_total: 0, withheld_old_total: 0 });
  });

  it('the fail2ban sink recognises lines of 0.1.0, too', async () => {
    await make().sink.open(null);
    fs.appendFileSync(slot(1), `${formatEarlierEcs(failure(7))}\n`);
    const { sink } = make();
    await sink.open(null);
    await sink.deliver(batch(6, 8), NEVER);
    expect(text().match(/"sequence":\d+/g)).toEqual(['7', '6', '8'].map((id) => `"sequence":${id}`));
  });

  it('the fail2ban sink skips lines with a future time and invalid lines', async () => {
    const first = make();
    await first.sink.open(null);
    await first.sink.deliver(batch(1, 3), NEVER);
    first.time.now += 3_600_000;
    await first.sink.deliver(batch(4, 4, { time: first.time.now }), NEVER);
    first.time.now -= 7_200_000;
    await first.sink.deliver(batch(5, 5, { time: first.time.now }), NEVER);
    fs.appendFileSync(String(first.sink.figures().file), 'x\n{"@times');
    const { sink } = make();
    await sink.open(null);
    await sink.deliver(batch(1, 3), NEVER);
    await sink.deliver(batch(6, 6), NEVER);
    expect(sequences(text())).toEqual([1, 2, 3, 4, 5, 6]);
  });

  describe('an edited row', () => {
    const revision = (sequence: number, over: Partial<AuditEvent> = {}) =>
      failure(sequence, { source: 'auditd', revisionOf: 7, ...over });

    it('an edited row counts once: it is not another failure if it was already written', async () => {
      const { sink } = make();
      await sink.open(null);
      await sink.deliver(one(failure(7)), NEVER);
      await sink.close();
      const again = make().sink; // killed in between
      await again.open(null);
      await again.deliver(one(revision(1, { address: '203.0.113.9' })), NEVER);
      await again.deliver(one(failure(7, { address: '203.0.113.9' })), NEVER);
      expect(sequences(text())).toEqual([7]);
      expect(sequences(text(), 'auditd')).toEqual([]);
    });

    it('an edited row counts once if its time and address changed just before a crash, unless in another history', async () => {
      const { sink } = make();
      await sink.open(null);
      await sink.deliver(one(failure(7)), NEVER);
      await sink.close();
      const again = make().sink; // killed before anybody had seen the edit
      await again.open(null);
      const edited = { address: '203.0.113.9', time: NOON + 3_000 };
      await again.deliver(one(failure(7, edited)), NEVER);
      await again.deliver(one(revision(1, edited)), NEVER);
      expect([sequences(text()), sequences(text(), 'auditd')]).toEqual([[7], []]);
      await again.deliver(one(failure(7, { ...edited, timeline: 2 })), NEVER);
      expect(sequences(text())).toEqual([7]); // the same row, put back with its database
      await again.deliver(one(failure(7, { address: '203.0.113.10', timeline: 2 })), NEVER);
      expect(sequences(text())).toEqual([7, 7]);
    });

    it('an edited row counts for its original without an address, once for all its versions', async () => {
      const { sink } = make();
      await sink.open(null);
      await sink.deliver(one(failure(7, { address: null })), NEVER);
      const versions = [revision(1), revision(2, { time: NOON + 1 })];
      await sink.deliver({ source: 'auditd', timeline: 1, events: versions, upTo: 2 }, NEVER);
      await sink.close();
      const again = make().sink;
      await again.open(null);
      await again.deliver(one(revision(3, { address: '203.0.113.9' })), NEVER);
      await again.deliver(one(failure(7)), NEVER);
      await again.deliver(one(failure(7, { time: NOON + 2 })), NEVER);
      expect(sequences(text())).toEqual([]);
      expect(sequences(text(), 'auditd')).toEqual([1]);
      expect(sink.figures()).toMatchObject({ withheld_no_address_total: 1 });
    });

    it('an edited row is judged by its current type if the event only reports the edit', async () => {
      const { sink } = make();
      await sink.open(null);
      const edited = { ...failure(1).type, action: 'daemon.row_edited', category: 'daemon' };
      const event = revision(1, { type: edited, action: 'daemon.row_edited', revisedType: failure(1).type });
      await sink.deliver(one(event), NEVER);
      await sink.deliver(one(revision(2, { type: edited, action: 'daemon.row_edited' })), NEVER);
      expect(sequences(text(), 'auditd')).toEqual([1]);
    });
  });

  it('the fail2ban sink reports its recent verdicts by reason, with the newest row', async () => {
    const { sink, time } = make();
    await sink.open(null);
    await sink.deliver(batch(1, 3), NEVER);
    await sink.deliver(batch(4, 5, { address: null }), NEVER);
    await sink.deliver({ ...batch(6, 9, { address: null }), uncounted: true }, NEVER);
    time.now += 30 * 60_000;
    await sink.deliver(batch(10, 10, { time: time.now, address: null }), NEVER);
    expect(sink.verdicts?.()).toEqual({
      written: { ten_minutes: 0, hour: 3, last: NOON, newest: 'postern:3' },
      no_address: { ten_minutes: 1, hour: 3, last: time.now, newest: 'postern:10' },
    });
    time.now += 50 * 60_000;
    expect(Object.keys(sink.verdicts?.() ?? {})).toEqual(['no_address']);
    expect(sink.figures()).toMatchObject({ written_total: 3, withheld_no_address_total: 3 });
  });

  it('the fail2ban sink judges each event at the moment of its write', async () => {
    const { sink, time, deps } = make();
    await sink.open(null);
    // Each look at the clock takes ten seconds: a disk that stalls between the pieces of one batch.
    let reads = 0;
    const slow = createFail2banSink(
      fail2banSink.parse({ type: 'fail2ban', directory: auth(), group: null }),
      { never_ban: [], ipv6_prefix: 128 },
      { ...deps, clock: () => time.now + 10_000 * reads++ },
    );
    sinks.push(slow);
    await slow.open(null);
    reads = 0;
    const many = 20_000;
    await slow.deliver(batch(1, many), NEVER);
    const written = sequences(text());
    expect(written.length).toBeGreaterThan(0);
    expect(written).toEqual(range(1, written.length));
    expect(slow.figures().withheld_old_total).toBe(many - written.length);
    expect(written.length).toBeLessThan(many / 2);
  });
});
