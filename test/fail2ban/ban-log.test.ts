import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, it, onTestFinished, vi } from 'vitest';
import { type BanEntry, parseBan, readBans, readLastBans } from '../../src/fail2ban/ban-log.js';
import { watchBans } from '../../src/fail2ban/watch-ban-log.js';
import { installed } from '../support/installed.js';

let directory: string;
let path: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'bans-'));
  path = join(directory, 'bans.log');
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

/** The nth line, as the action writes it. */
function line(n: number): string {
  return `{"time":"2026-11-22T20:21:00.${String(n % 1_000).padStart(3, '0')}Z","event":"ban","ip":"10.0.${Math.floor(n / 250)}.${n % 250}","failures":${n},"jail":"posternproxy","bantime":3600}\n`;
}

/** Reads all there is, as the daemon does: the note of one read goes into the next. */
function drain(
  saved: string | null,
  limit?: number,
): { numbers: number[]; saved: string | null; bad: number } {
  const numbers: number[] = [];
  let bad = 0;
  for (let more = true; more; ) {
    const read = readBans(path, saved, limit);
    numbers.push(...read.entries.map((entry) => entry.failures));
    bad += read.bad;
    ({ saved, more } = read);
  }
  return { numbers, saved, bad };
}

it('parses a line into an entry', () => {
  expect(parseBan(line(7).trimEnd())).toEqual<BanEntry>({
    time: Date.UTC(2026, 10, 22, 20, 21, 0, 7),
    event: 'ban',
    address: '10.0.0.7',
    failures: 7,
    jail: 'posternproxy',
    banTimeSeconds: 3_600,
  });
});

it.each([
  ['"ban"', '"unban"', { event: 'unban' }],
  ['"bantime":3600', '"bantime":-1', { banTimeSeconds: null }],
  ['10.0.0.7', '2001:db8:1:2::/64', { address: '2001:db8:1:2::/64' }],
])('a line with %s as %s is read', (from, to, expected) => {
  expect(parseBan(line(7).trimEnd().replace(from, to))).toMatchObject(expected);
});

it.each([
  ['"ban"', '"banned"'],
  ['10.0.0.7', 'example.org'],
  ['10.0.0.7', '10.0.0.7/x'],
  ['"failures":7', '"failures":-7'],
  ['"failures":7', '"failures":"7"'],
  ['"jail":"posternproxy"', '"jail":null'],
  ['"bantime":3600', '"bantime":null'],
  ['}', ''],
  ['{"time":', '["time":'],
])('a line with %s as %s is not', (from, to) => {
  expect(parseBan(line(7).trimEnd().replace(from, to))).toBeNull();
});

it('a missing file is not an error, and a new file is read from its start', () => {
  const none = readBans(path, null);
  expect(none).toEqual({ entries: [], saved: null, bad: 0, badLine: null, more: false });
  writeFileSync(path, line(1));
  expect(drain(none.saved).numbers).toEqual([1]);
});

it('reads only new lines', () => {
  writeFileSync(path, line(1) + line(2));
  const first = drain(null);
  appendFileSync(path, line(3));
  const second = drain(first.saved);
  expect([first.numbers, second.numbers, drain(second.saved).numbers]).toEqual([[1, 2], [3], []]);
});

it('waits for the rest of a torn last line', () => {
  writeFileSync(path, line(1) + line(2).slice(0, 40));
  const first = drain(null);
  appendFileSync(path, line(2).slice(40));
  expect([first, drain(first.saved)]).toMatchObject([
    { numbers: [1], bad: 0 },
    { numbers: [2], bad: 0 },
  ]);
});

it('finds a line behind a line that stayed torn', () => {
  writeFileSync(path, line(1).slice(0, 40) + line(2) + line(3));
  expect(drain(null)).toMatchObject({ numbers: [2, 3], bad: 0 });
});

it('counts and skips bad lines', () => {
  writeFileSync(path, `${line(1)}nonsense\n\n\0\xff\n${line(2)}`);
  expect(drain(null)).toMatchObject({ numbers: [1, 2], bad: 3 });
});

it('a line without an end uses no memory and counts once', () => {
  writeFileSync(path, `${line(1)}${'x'.repeat(10_000)}\n${line(2)}`);
  expect(drain(null, 1_024)).toMatchObject({ numbers: [1, 2], bad: 1 });
});

it('reads a rotated file to its end first', () => {
  writeFileSync(path, line(1));
  const { saved } = drain(null);
  appendFileSync(path, line(2) + line(3));
  renameSync(path, `${path}.1`);
  expect(drain(saved).numbers).toEqual([2, 3]);
  writeFileSync(path, line(4));
  expect(drain(saved).numbers).toEqual([2, 3, 4]);
  expect(drain(drain(saved).saved).numbers).toEqual([]);
});

it('reads a file that was rotated twice from its saved position', () => {
  writeFileSync(path, line(1));
  const { saved } = drain(null);
  appendFileSync(path, line(2));
  renameSync(path, `${path}.2`);
  writeFileSync(path, line(3));
  expect(drain(saved).numbers).toEqual([2, 3]);
});

it('reads a truncated file from its start', () => {
  writeFileSync(path, line(1) + line(2));
  const { saved } = drain(null);
  truncateSync(path);
  expect(drain(saved).numbers).toEqual([]);
  appendFileSync(path, line(3));
  expect(drain(saved).numbers).toEqual([3]);
});

it('reads a file from its start that was truncated and filled beyond the old position', () => {
  writeFileSync(path, line(1));
  const { saved } = drain(null);
  copyFileSync(path, `${path}.1`);
  writeFileSync(path, line(2) + line(3));
  expect(drain(saved).numbers).toEqual([2, 3]);
});

it('reads a replaced file from its start', () => {
  writeFileSync(path, line(1) + line(2));
  const { saved } = drain(null);
  unlinkSync(path);
  writeFileSync(path, line(3) + line(4) + line(5));
  expect(drain(saved).numbers).toEqual([3, 4, 5]);
});

it('continues in a copy of the file, and of one that was rotated meanwhile, where it stopped in the original', () => {
  writeFileSync(path, line(1) + line(2));
  const { saved } = drain(null);
  appendFileSync(path, line(3));
  copyFileSync(path, `${path}.copy`);
  renameSync(`${path}.copy`, path);
  expect(drain(saved).numbers).toEqual([3]);
  copyFileSync(path, `${path}.1`);
  unlinkSync(path);
  writeFileSync(path, line(4));
  expect(drain(saved).numbers).toEqual([3, 4]);
});

it('reads from the start after an unreadable position', () => {
  writeFileSync(path, line(1));
  expect(drain('{"inode":"x"}').numbers).toEqual([1]);
  expect(drain('not json').numbers).toEqual([1]);
});

it('refuses a file that is not regular, with a next step', () => {
  mkdirSync(path);
  expect(() => readBans(path, null)).toThrow(
    expect.objectContaining({ code: 'FAIL2BAN_FAILED', message: expect.stringContaining('install.sh') }),
  );
  rmSync(path, { recursive: true });
  symlinkSync('/etc/passwd', path);
  expect(() => readBans(path, null)).toThrow(expect.objectContaining({ code: 'FAIL2BAN_FAILED' }));
  unlinkSync(path);
  execFileSync('mkfifo', [path]);
  expect(() => readBans(path, null)).toThrow(expect.objectContaining({ code: 'FAIL2BAN_FAILED' }));
});

it('reads each line exactly once, in any order of writes, reads and rotations', () => {
  const step = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({ kind: fc.constant('write' as const), bytes: fc.integer({ min: 1, max: 300 }) }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constant('read' as const),
        limit: fc.integer({ min: 200, max: 2_000 }),
      }),
    },
    { weight: 1, arbitrary: fc.constant({ kind: 'rotate' as const }) },
    { weight: 1, arbitrary: fc.constant({ kind: 'forget' as const }) },
    { weight: 1, arbitrary: fc.constant({ kind: 'move' as const }) },
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      rmSync(directory, { recursive: true, force: true });
      mkdirSync(directory);
      let written = 0;
      let pending = '';
      let saved: string | null = null;
      const seen: number[] = [];
      const read = (limit: number) => {
        const got = readBans(path, saved, limit);
        saved = got.saved;
        seen.push(...got.entries.map((entry) => entry.failures));
        return got.more;
      };
      let rotations = 0;
      for (const action of steps) {
        if (action.kind === 'write') {
          // Bytes, not lines: what is read may end anywhere.
          while (pending.length < action.bytes) pending += line(++written);
          appendFileSync(path, pending.slice(0, action.bytes));
          pending = pending.slice(action.bytes);
        } else if (action.kind === 'read') {
          read(action.limit);
        } else if (action.kind === 'forget') {
          // The daemon died before its commit: what it read is read again, from the same note.
          readBans(path, saved, 500);
        } else if (action.kind === 'move') {
          // Restored from a backup, or moved to another host: the same bytes in other inodes.
          for (const name of readdirSync(directory)) {
            copyFileSync(join(directory, name), join(directory, '.new'));
            renameSync(join(directory, '.new'), join(directory, name));
          }
        } else if (seen.length > 0 && rotations < 1) {
          // One rotation between reads is what is promised; the line in work goes with the file.
          appendFileSync(path, pending);
          pending = '';
          renameSync(path, `${path}.1`);
          writeFileSync(path, '');
          while (read(500));
          rotations++;
        }
      }
      appendFileSync(path, pending);
      while (read(500));
      expect(seen).toEqual(Array.from({ length: written }, (_, i) => i + 1));
    }),
    { numRuns: 300 },
  );
});

it('reads a time that busybox could not write, to the second', () => {
  const text = line(7).trimEnd();
  const old = text.replace('20:21:00.007Z', '20:21:00.%3NZ');
  expect(parseBan(old)).toEqual({ ...parseBan(text), time: Date.UTC(2026, 10, 22, 20, 21, 0) });
  expect(parseBan(text.replace('2026-11-22T20:21:00.007Z', ''))).toEqual({ ...parseBan(text), time: null });
});

it('the end of a file is read without its torn first line, and bad lines are counted', () => {
  writeFileSync(path, line(1) + line(2));
  appendFileSync(path, `{"time":"x" nonsense\n${line(3)}`);
  expect(readLastBans(path, 1_000_000)).toMatchObject({ bad: 1, badLine: '{"time":"x" nonsense' });
  expect(readLastBans(path, line(3).length + 5)).toMatchObject({ bad: 0, entries: [{ failures: 3 }] });
  expect(readLastBans(join(directory, 'none'), 10)).toEqual({ entries: [], bad: 0, badLine: null });
});

/** The two commands of the action, as fail2ban gives them to the shell. */
function shell(event: 'ban' | 'unban', file: string, n: number): string {
  const text = readFileSync('fail2ban/action.d/posternproxy-report.conf', 'utf8');
  const append = /^_append = ([\s\S]*?)\n\n/m.exec(text)?.[1] ?? '';
  const values: Record<string, string> = {
    bans: file,
    ip: '10.0.0.1',
    failures: `${n}`,
    name: 'posternproxy',
    bantime: '3600',
  };
  return `${append.replaceAll('%%', '%').replace(/<(\w+)>/g, (_, tag: string) => values[tag] ?? '')}\nappend ${event}`;
}

it('reads what the action writes', () => {
  execFileSync('sh', ['-c', shell('ban', path, 5)]);
  execFileSync('sh', ['-c', shell('unban', path, 5)]);
  const { entries, bad } = readBans(path, null);
  expect(bad).toBe(0);
  expect(entries).toMatchObject([
    { event: 'ban', address: '10.0.0.1', failures: 5, jail: 'posternproxy', banTimeSeconds: 3_600 },
    { event: 'unban' },
  ]);
  expect(Math.abs(Date.now() - (entries[0]?.time ?? 0))).toBeLessThan(60_000);
});

it.skipIf(!installed('busybox', 'busybox'))('reads what the action writes with busybox', () => {
  // Alpine's shell and tools, and nothing else.
  const bin = join(directory, 'bin');
  mkdirSync(bin);
  const busybox = execFileSync('sh', ['-c', 'command -v busybox'], { encoding: 'utf8' }).trim();
  for (const name of ['sh', 'date', 'dirname', 'mkdir', 'printf', '[']) symlinkSync(busybox, join(bin, name));
  const before = Date.now();
  for (const event of ['ban', 'unban'] as const)
    execFileSync(join(bin, 'sh'), ['-c', shell(event, path, 5)], { env: { PATH: bin, TZ: 'Asia/Tokyo' } });
  const { entries, bad } = readBans(path, null);
  expect([bad, entries.map(({ event }) => event)]).toEqual([0, ['ban', 'unban']]);
  for (const { time } of entries) {
    expect(time).toBeGreaterThanOrEqual(before - 1_000);
    expect(time).toBeLessThanOrEqual(Date.now());
  }
});

it('the action creates a missing directory and never fails', () => {
  const deep = join(directory, 'a', 'b', 'bans.log');
  execFileSync('sh', ['-c', shell('ban', deep, 1)]);
  expect(readBans(deep, null).entries).toHaveLength(1);
  mkdirSync(path);
  expect(execFileSync('sh', ['-c', shell('ban', path, 1)], { stdio: 'pipe' }).toString()).toBe('');
});

it('lines of concurrent bans do not mix', () => {
  const loop = (n: number) => `i=0; while [ $i -lt 50 ]; do i=$((i+1)); (${shell('ban', path, n)}\n); done`;
  execFileSync('sh', [
    '-c',
    [1, 2, 3, 4]
      .map((n) => `{ ${loop(n)}; } &`)
      .join('\n')
      .concat('\nwait'),
  ]);
  expect(drain(null)).toMatchObject({ numbers: { length: 200 }, bad: 0 });
});

it('a change is noticed soon, by polling where no watch is possible', async () => {
  writeFileSync(path, '');
  const told = (watched: string, poll: number, act: () => void) =>
    new Promise<void>((resolve) => {
      const watch = watchBans(
        watched,
        () => {
          watch.close();
          resolve();
          return true;
        },
        poll,
      );
      act();
    });
  await told(path, 3_600_000, () => appendFileSync(path, line(1)));
  await told(join(directory, 'missing', 'bans.log'), 20, () => {});
});

it('a poll tells what no watch shows: another file behind a link, a read that failed', async () => {
  const [first, second] = [join(directory, 'first'), join(directory, 'second')];
  for (const made of [first, second]) {
    mkdirSync(made);
    writeFileSync(join(made, 'bans.log'), line(1));
  }
  const link = join(directory, 'link');
  symlinkSync(first, link);
  let [calls, isRead] = [0, false];
  const watch = watchBans(
    join(link, 'bans.log'),
    () => {
      calls++;
      return isRead;
    },
    20,
    Number.POSITIVE_INFINITY,
  );
  onTestFinished(() => watch.close());
  await vi.waitFor(() => expect(calls).toBeGreaterThan(2), { timeout: 60_000 });
  isRead = true;
  symlinkSync(second, `${link}.new`);
  renameSync(`${link}.new`, link);
  const before = calls;
  await vi.waitFor(() => expect(calls).toBeGreaterThan(before), { timeout: 60_000 });
});
