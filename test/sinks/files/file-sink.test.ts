import fs from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { parseEcsPosition } from '../../../src/formats/ecs-position.js';
import { createFileSink } from '../../../src/sinks/files/file-sink.js';
import type { Delivered, Sink } from '../../../src/sinks/sink.js';
import { earlierLines } from '../../formats/earlier-ecs.js';
import { deliverEvents } from '../../support/deliver.js';
import {
  batch,
  dependencies,
  failure,
  fileConfig,
  idOf,
  logNames,
  NEVER,
  NOON,
  range,
  rolledText,
  sequences,
  temporaryDirectory,
} from './files-fixture.js';

const DAY = 86_400_000;
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

function make(roll: Parameters<typeof fileConfig>[1] = {}, given = dependencies()) {
  const sink = createFileSink(fileConfig(path.join(directory, 'audit'), roll), given.deps);
  sinks.push(sink);
  return { sink, ...given };
}

const logs = (): string => path.join(directory, 'audit');
const text = (): string => rolledText(logs());
const file = (number: number): string => path.join(logs(), `audit.${String(number).padStart(8, '0')}.log`);

/** A sink that has delivered rows 1 to `count`, closed without another word. */
async function delivered(count: number, roll: Parameters<typeof fileConfig>[1] = {}): Promise<string> {
  const { sink } = make(roll);
  await sink.open(null);
  const { saved } = await deliverEvents(sink, batch(1, count), NEVER);
  await sink.close();
  return saved ?? '';
}

describe('the file sink', () => {
  it('the file sink writes no line above max_line_size: details are shortened, and the place is read back', async () => {
    const given = dependencies();
    const config = { ...fileConfig(path.join(directory, 'audit'), {}), max_line_size: 4_096 };
    const sink = createFileSink(config, given.deps);
    sinks.push(sink);
    await sink.open(null);
    const note = (length: number) => JSON.stringify({ short: 'kept', note: 'é"'.repeat(length) });
    const long = [
      failure(1),
      failure(2, { details: note(100_000) }),
      failure(3, { details: note(1), user: { id: null, name: '\u0007'.repeat(50_000), email: null } }),
      failure(4, { details: JSON.stringify({ note: 'x'.repeat(3_700) }) }),
    ];
    await deliverEvents(sink, { source: 'postern', timeline: 1, events: long, upTo: 4 }, NEVER);
    const lines = text().split('\n').slice(0, -1);
    expect(lines.map((line) => parseEcsPosition(line)?.sequence)).toEqual([1, 2, 3, 4]);
    for (const line of lines) expect(Buffer.byteLength(line)).toBeLessThanOrEqual(4_096);
    const marks = lines.map(
      (line) => (JSON.parse(line) as { postern: { truncated?: true } }).postern.truncated,
    );
    expect(marks.slice(0, 3)).toEqual([undefined, true, true]);
    expect(lines[1]).toContain('"short":"kept"');
  });

  it('the file sink makes retention keep rows that a power loss may undo', async () => {
    const { sink } = make();
    await sink.open(null);
    await deliverEvents(sink, batch(1, 50), NEVER);
    await expect.poll(async () => sink.tick?.().then(() => sink.figures().undurable_bytes)).toBe(0);
    const { saved } = await deliverEvents(sink, batch(51, 100), NEVER);
    expect(sink.undelivered?.(saved ?? null)).toMatchObject([{ source: 'postern', timeline: 1, upTo: 50 }]);
    const later = await vi.waitUntil(async () => {
      const note = (await sink.tick?.()) ?? null;
      return sink.figures().undurable_bytes === 0 ? note : null;
    }, 60_000);
    expect(sink.undelivered?.(later)).toEqual([]);
  });

  it('the file sink requests a tick within a second of a write, and in 5 s once the write is durable', async () => {
    const { sink } = make();
    await sink.open(null);
    await sink.tick?.();
    expect(sink.tickPeriod?.()).toBe(5_000);
    await deliverEvents(sink, batch(1, 1), NEVER);
    expect([sink.tickPeriod?.(), sink.figures().undurable_bytes]).toEqual([1_000, text().length]);
    await expect.poll(async () => sink.tick?.().then(() => sink.figures().undurable_bytes)).toBe(0);
    expect(sink.tickPeriod?.()).toBe(5_000);
  });

  it('the file sink writes each event of a batch as a line, and reports its progress', async () => {
    const { sink } = make();
    await sink.open(null);
    const { upTo } = await deliverEvents(sink, batch(1, 100, {}, 120), NEVER);
    expect(upTo).toBe(120);
    expect(sequences(text())).toEqual(range(1, 100));
    expect(fs.readlinkSync(path.join(logs(), 'current.log'))).toBe('audit.00000001.log');
  });

  it('the file sink continues in the same file after a restart, and reports nothing', async () => {
    const saved = await delivered(10);
    const { sink } = make();
    expect((await sink.open(saved))?.positions).toEqual([]);
    await deliverEvents(sink, batch(11, 20), NEVER);
    expect(logNames(logs())).toHaveLength(1);
    expect(sequences(text())).toEqual(range(1, 20));
  });

  it('the file sink finds the lines of an earlier release whose position was never saved, and writes after them', async () => {
    const saved = await delivered(10);
    const lines = earlierLines.filter((line) => line.includes('"postern":{"source":"postern","timeline":1,'));
    fs.appendFileSync(file(1), `${lines.join('\n')}\n${lines[0]?.slice(0, 300)}`); // the last is torn
    const { sink, warnings } = make();
    const resume = await sink.open(saved);
    const rows = lines.map((line) => (JSON.parse(line) as { event: { sequence: number; id: string } }).event);
    expect(rows.length).toBeGreaterThan(20);
    const position = resume?.positions.find((p) => p.source === 'postern' && p.timeline === 1);
    expect(new Set(position?.found.map((row) => row.join(' ')))).toEqual(
      new Set(rows.map(({ sequence, id }) => `${sequence} ${id}`)),
    );
    expect(warnings()).toHaveLength(1);
    await deliverEvents(sink, batch(6_001, 6_002), NEVER);
    const written = text().split('\n').slice(0, -1);
    expect(written.slice(10, -2)).toEqual(lines);
    expect(written.slice(-2).map((line) => parseEcsPosition(line)?.sequence)).toEqual([6_001, 6_002]);
  });

  it('the file sink resumes after the last line of an earlier release if all state is lost', async () => {
    await delivered(1);
    fs.writeFileSync(file(1), `${earlierLines.slice(0, 5).join('\n')}\n`);
    const resume = await make().sink.open(null);
    const last = JSON.parse(earlierLines[4] ?? '') as {
      event: { sequence: number };
      postern: { source: string; timeline: number };
    };
    expect(resume?.positions).toMatchObject([
      { source: 'postern', timeline: last.postern.timeline, upTo: last.event.sequence },
    ]);
  });

  it('the file sink finds lines whose position was never saved', async () => {
    const saved = await delivered(10);
    const first = make().sink;
    await first.open(saved);
    await deliverEvents(first, batch(11, 13), NEVER);
    await deliverEvents(first, batch(1, 2, { source: 'auditd' }), NEVER);
    await first.close();

    const resume = await make().sink.open(saved);
    expect(resume?.positions).toEqual([
      {
        source: 'postern',
        timeline: 1,
        upTo: 13,
        found: range(11, 13).map((n) => [n, idOf('postern', 1, n)]),
      },
      { source: 'auditd', timeline: 1, upTo: 2, found: range(1, 2).map((n) => [n, idOf('auditd', 1, n)]) },
    ]);
  });

  it('the file sink reports recovered lines at each start until a batch confirms them', async () => {
    const saved = await delivered(10);
    const first = make().sink;
    await first.open(saved);
    await deliverEvents(first, batch(11, 13), NEVER);
    await first.close();

    const second = make().sink;
    await second.open(saved);
    const note = (await deliverEvents(second, batch(1, 1, { source: 'auditd' }), NEVER)).saved ?? '';
    await second.close();

    const third = make().sink;
    expect((await third.open(note))?.positions.map((p) => [p.source, p.upTo, p.found.length])).toEqual([
      ['postern', 13, 3],
    ]);
    const after = (await deliverEvents(third, batch(14, 14), NEVER)).saved ?? '';
    await third.close();
    expect((await make().sink.open(after))?.positions).toEqual([]);
  });

  it('the file sink truncates a torn last line and writes it again', async () => {
    const saved = await delivered(10);
    fs.appendFileSync(file(1), '{"@timestamp":"2026-11-26T12:00');
    const { sink, warnings } = make();
    expect((await sink.open(saved))?.positions).toEqual([]);
    await deliverEvents(sink, batch(11, 11), NEVER);
    expect(sequences(text())).toEqual(range(1, 11));
    expect(warnings()[0]).toMatch(/removed 31 bytes at the end of .*audit\.00000001\.log/);
  });

  it('the file sink truncates a line that is torn in the middle of a character', async () => {
    const saved = await delivered(10);
    fs.appendFileSync(file(1), Buffer.from('{"x":"ä').subarray(0, 7));
    const { sink } = make();
    await sink.open(saved);
    await deliverEvents(sink, batch(11, 11), NEVER);
    expect(sequences(text())).toEqual(range(1, 11));
  });

  it('the file sink rotates by size between batches, updates its link, and keeps only the newest files', async () => {
    const { sink } = make({ size: '1K', keep: 3 });
    await sink.open(null);
    for (let n = 1; n <= 60; n += 6) await deliverEvents(sink, batch(n, n + 5), NEVER);
    expect(logNames(logs()).slice(-3)).toEqual([
      'audit.00000008.log',
      'audit.00000009.log',
      'audit.00000010.log',
    ]);
    expect(fs.readlinkSync(path.join(logs(), 'current.log'))).toBe('audit.00000010.log');
    await sink.tick?.(); // begins the eleventh
    await sink.tick?.();
    expect(logNames(logs())).toEqual(['audit.00000009.log', 'audit.00000010.log', 'audit.00000011.log']);
    expect(sequences(text())).toEqual(range(49, 60));
    expect(sink.figures()).toMatchObject({ rolled_total: 10, pruned_total: 8, written_total: 60 });
  });

  it('the file sink rotates at midnight UTC, even during a restart', async () => {
    const saved = await delivered(10);
    const { sink, time } = make();
    time.now = NOON + DAY / 2;
    await sink.open(saved);
    await deliverEvents(sink, batch(11, 12), NEVER);
    expect(logNames(logs())).toEqual(['audit.00000001.log', 'audit.00000002.log']);
    expect(sequences(fs.readFileSync(file(2), 'utf8'))).toEqual([11, 12]);
  });

  it('the file sink rotates while idle, without a series of empty files', async () => {
    const { sink, time } = make();
    await sink.open(null);
    await deliverEvents(sink, batch(1, 2), NEVER);
    for (let day = 1; day <= 5; day++) {
      time.now = NOON + day * DAY;
      await sink.tick?.();
    }
    expect(logNames(logs())).toEqual(['audit.00000001.log', 'audit.00000002.log']);
    await deliverEvents(sink, batch(3, 3), NEVER);
    await deliverEvents(sink, batch(4, 4), NEVER);
    expect(sequences(fs.readFileSync(file(2), 'utf8'))).toEqual([3, 4]);
  });

  it('the file sink removes no file by age: a clock years ahead rotates once, and one set back does not rotate', async () => {
    const { sink, time } = make({ keep: 2 });
    await sink.open(null);
    let next = 1;
    const deliverAt = async (now: number) => {
      time.now = now;
      for (let times = 0; times < 3; times++) {
        await deliverEvents(sink, batch(next, next), NEVER);
        next++;
        await sink.tick?.();
      }
    };
    await deliverAt(NOON);
    await deliverAt(NOON + 2_950 * DAY);
    await deliverAt(NOON + 2_950 * DAY + 3_600_000);
    await deliverAt(NOON);
    expect(logNames(logs())).toEqual(['audit.00000001.log', 'audit.00000002.log']);
    expect(sequences(text())).toEqual(range(1, 12));
  });

  it('the file sink finds lines in a later file if the rotation was not saved', async () => {
    const saved = await delivered(10, { size: '1K' });
    const first = make({ size: '1K' }).sink;
    await first.open(saved);
    await deliverEvents(first, batch(11, 20), NEVER);
    await first.close();
    fs.appendFileSync(file(2), '{"torn');

    const { sink } = make({ size: '1K' });
    expect((await sink.open(saved))?.positions).toEqual([
      {
        source: 'postern',
        timeline: 1,
        upTo: 20,
        found: range(11, 20).map((n) => [n, idOf('postern', 1, n)]),
      },
    ]);
    await deliverEvents(sink, batch(21, 21), NEVER);
    expect(sequences(text())).toEqual(range(1, 21));
  });

  it('the file sink takes its position from the last lines if the note is lost', async () => {
    const first = make({ size: '1K' }).sink;
    await first.open(null);
    await deliverEvents(first, batch(1, 10, { timeline: 3 }), NEVER);
    await deliverEvents(first, batch(1, 10, { source: 'auditd' }), NEVER);
    await first.close();
    fs.appendFileSync(file(2), '\0\0\0\0\n{"torn');

    const { sink } = make({ size: '100K' });
    expect((await sink.open(null))?.positions).toEqual([
      { source: 'postern', timeline: 3, upTo: 10, found: [] },
    ]);
    await deliverEvents(sink, batch(11, 11, { timeline: 3 }), NEVER);
    expect(sequences(text())).toEqual(range(1, 11));
    expect(logNames(logs())).toHaveLength(2);
  });

  it.each<[string, () => void, number?]>([
    ['the file is removed', () => fs.unlinkSync(file(1))],
    ['the file is moved away', () => fs.renameSync(file(1), path.join(directory, 'moved.log'))],
    ['the directory is removed', () => fs.rmSync(logs(), { recursive: true })],
    ['the directory is moved away', () => fs.renameSync(logs(), path.join(directory, 'moved'))],
    ['the file is emptied', () => fs.truncateSync(file(1), 0), 0],
    ['another hand appends to the file', () => fs.appendFileSync(file(1), 'half a line')],
  ])('the file sink continues in a new file when %s', async (_, happen, upTo = 9) => {
    const { sink, warnings } = make();
    await sink.open(null);
    const first = await deliverEvents(sink, batch(1, 5), NEVER);
    happen();
    const second = await deliverEvents(sink, batch(6, 9), NEVER);
    expect(sequences(fs.readFileSync(file(2), 'utf8'))).toEqual(range(6, 9));
    expect(fs.readlinkSync(path.join(logs(), 'current.log'))).toBe('audit.00000002.log');
    expect(warnings()).toHaveLength(1);
    await sink.close();
    // The same with a death before the second position was saved: only a file that was emptied is written again.
    const reopened = async ({ saved }: Delivered): Promise<number | undefined> => {
      const again = make().sink;
      const resume = await again.open(saved ?? '');
      await again.close();
      return resume?.positions.find((p) => p.source === 'postern')?.upTo;
    };
    expect(await reopened(second)).toBeUndefined();
    expect(await reopened(first)).toBe(upTo);
  });

  it('the file sink recreates its directory while idle', async () => {
    const { sink } = make();
    await sink.open(null);
    await deliverEvents(sink, batch(1, 5), NEVER);
    fs.rmSync(logs(), { recursive: true });
    expect(await sink.tick?.()).not.toBeNull();
    expect(logNames(logs())).toEqual(['audit.00000002.log']);
  });

  it('the file sink ignores foreign files', async () => {
    fs.mkdirSync(logs());
    for (const name of [
      'audit.log',
      'audit.7.log',
      'audit.00000099.log.gz',
      'audit.1.2.3.log',
      'x.00000050.log',
    ]) {
      fs.writeFileSync(path.join(logs(), name), 'foreign\n');
    }
    fs.mkdirSync(file(3));
    fs.writeFileSync(path.join(logs(), 'current.log'), 'mine\n');
    const { sink } = make({ keep: 1, size: '1K' });
    await sink.open(null);
    await deliverEvents(sink, batch(1, 5), NEVER);
    await deliverEvents(sink, batch(6, 9), NEVER);
    await sink.tick?.();
    expect(sequences(fs.readFileSync(file(5), 'utf8'))).toEqual(range(6, 9));
    expect(fs.readFileSync(path.join(logs(), 'current.log'), 'utf8')).toBe('mine\n');
    expect(fs.readdirSync(logs())).toHaveLength(9);
    const findings = await sink.check();
    expect(findings.filter((f) => f.level === 'warning').map((f) => f.what)).toEqual([
      expect.stringContaining('other files in'),
      expect.stringContaining('current.log is not a link'),
    ]);
  });

  it('the file sink writes a row of 1 MB in one line', async () => {
    const { sink } = make();
    await sink.open(null);
    const details = JSON.stringify({ text: 'ä'.repeat(2 ** 20) });
    const events = [failure(1), failure(2, { details }), failure(3)];
    const { saved } = await deliverEvents(sink, { source: 'postern', timeline: 1, events, upTo: 3 }, NEVER);
    expect(sequences(text())).toEqual([1, 2, 3]);
    await sink.close();
    expect((await make().sink.open(saved ?? ''))?.positions).toEqual([]);
  });

  it('the file sink sets the mode of its files', async () => {
    const { sink } = make();
    await sink.open(null);
    expect((fs.statSync(file(1)).mode & 0o777).toString(8)).toBe('640');
    expect((fs.statSync(logs()).mode & 0o777).toString(8)).toBe('750');
  });
});
