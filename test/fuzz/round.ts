import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect } from 'vitest';
import { COLUMNS } from '../../src/recorder/audit-table.js';
import { DaemonRig } from '../daemon/daemon-fixture.js';
import { CountedReader, listen, type TestServer } from '../sinks/syslog/receivers.js';
import { RunningRsyslog } from '../sinks/syslog/rsyslog.js';
import { FRAMED, MARK, makeRow } from './rows.js';

/** Of one round alone, to see again what it found. */
const SEED = process.env.FUZZ_SEED;
const ROWS = 1_000;
const COMMIT = 50;
/** Processor time of the main thread in one turn of its loop, in hundredths of a second. */
const LONGEST_TURN = 100;

const root = resolve(import.meta.dirname, '../..');
const FILTER = join(root, 'fail2ban/filter.d/posternproxy.conf');
const CLI = join(root, 'dist/cli.js');
// What no line may hold, whatever its format: C0 but for the tab, DEL, C1, directions, separators, the byte order mark.
const UNSAFE = /[\u0000-\u0008\u000a-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/;
const HEADER_5424 = /^<\d{1,3}>1 (?:-|\S{20,32}) \S+ \S+ \S+ \S+ - (.*)$/s;
const HEADER_3164 = /^<\d{1,3}>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \S+ [^:[\s]+(?:\[\d+\])?: (.*)$/s;

/** By which each message is known to be whole. */
const FORMATS: Readonly<Record<string, (body: string) => boolean>> = {
  ecs: isObject,
  ocsf: isObject,
  cef: (body) => /^CEF:0\|(?:(?:[^|\\]|\\.)*\|){6}(?:[a-zA-Z0-9]+=(?:[^=\\]|\\.)*)+$/.test(body),
  leef: (body) => /^LEEF:2\.0\|(?:[^|]*\|){4}/.test(body),
  text: (body) => body !== '',
};

function isObject(body: string): boolean {
  const value: unknown = JSON.parse(body);
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

interface Collector {
  readonly format: string;
  readonly envelope: string;
  readonly reader: CountedReader;
  readonly server: TestServer;
}

async function collect(format: string, envelope: string): Promise<Collector> {
  const reader = new CountedReader();
  const server = await listen((socket) => socket.on('data', (chunk: Buffer) => reader.push(chunk)));
  return { format, envelope, reader, server };
}

function sinks(collectors: readonly Collector[], relp: number): string {
  const lines = collectors.map(
    ({ format, envelope, server }) =>
      `  ${format}_${envelope}: { type: syslog, transport: tcp, targets: ["${server.target}"], format: ${format}, envelope: ${envelope}, start: beginning }`,
  );
  return [
    ...lines,
    `  relp: { type: syslog, transport: relp, targets: ["127.0.0.1:${relp}"], start: beginning }`,
  ].join('\n');
}

/** A table whose columns hold whatever is put into them. */
function typeless(rig: DaemonRig): void {
  rig.db.exec(`DROP TABLE audit_log; DELETE FROM sqlite_sequence;
    CREATE TABLE audit_log (id INTEGER PRIMARY KEY AUTOINCREMENT, ${COLUMNS.join(', ')})`);
}

function expectWhole({ format, envelope, reader }: Collector): void {
  const header = envelope === 'rfc5424' ? HEADER_5424 : HEADER_3164;
  for (const message of reader.messages) {
    const body = header.exec(message)?.[1];
    const shown = JSON.stringify(message.slice(0, 400));
    expect(body, `${format} ${envelope}: ${shown}`).toBeDefined();
    expect(UNSAFE.test(message), `${format} ${envelope}: ${shown}`).toBe(false);
    expect(FORMATS[format]?.(body ?? ''), `${format} ${envelope}: ${shown}`).toBe(true);
  }
}

async function round(seed: number): Promise<void> {
  const rsyslog = await RunningRsyslog.start();
  const collectors = await Promise.all([
    ...Object.keys(FORMATS).map((format) => collect(format, 'rfc5424')),
    collect('ecs', 'rfc3164'),
    collect('text', 'rfc3164'),
  ]);
  const rig = new DaemonRig({ roll: '{ size: 4M, keep: 10000 }' });
  const pauses = join(rig.directory, 'pauses');
  try {
    writeFileSync(pauses, '0');
    const config = readFileSync(rig.configPath, 'utf8')
      .replace('fail2ban: {', `${sinks(collectors, rsyslog.ports.relp)}\nfail2ban: {`)
      .replace('roll: { size: 64K }', 'roll: { size: 20M }');
    writeFileSync(rig.configPath, config);
    typeless(rig);
    process.env.FUZZ_PAUSES = pauses;
    process.env.NODE_OPTIONS = `--import ${join(import.meta.dirname, 'pauses.mjs')}`;
    await rig.start().finally(() => {
      delete process.env.NODE_OPTIONS;
    });

    const banned: string[] = [];
    const insert = rig.db.prepare(
      `INSERT INTO audit_log (${COLUMNS.join(', ')}) VALUES (${COLUMNS.map(() => '?').join(', ')})`,
    );
    for (let n = 0; n < ROWS; n += COMMIT) {
      rig.db.transaction(() => {
        for (let at = n; at < n + COMMIT; at++) {
          const row = makeRow(seed + at, Date.now());
          insert.run(row.values);
          if (row.banned !== null) banned.push(row.banned);
        }
      })();
      // A failure that waited for 50 s would rightly not count.
      await rig.shipped();
    }

    expect(Number(readFileSync(pauses, 'utf8')), 'the longest turn of the main loop').toBeLessThan(
      LONGEST_TURN,
    );
    // Read again at each look: the daemon may have an event of its own to add meanwhile.
    const audited = () => rig.auditLines();
    const postern = audited()
      .filter(({ source }) => source === 'postern')
      .map(({ sequence }) => sequence);
    expect(postern).toEqual(Array.from({ length: ROWS }, (_, at) => at + 1));
    for (const collector of collectors) {
      const ahead = () => collector.reader.messages.length - audited().length;
      await expect.poll(ahead, { timeout: 60_000, interval: 500 }).toBe(0);
      expectWhole(collector);
    }
    const relp = () => rsyslog.lines('relp');
    const apart = () => {
      const sent = new Set(relp().map((message) => /"id":"([0-9a-f]{32})"/.exec(message)?.[1]));
      const written = new Set(audited().map(({ id }) => id));
      return [
        ...[...sent].filter((id) => id === undefined || !written.has(id)),
        ...[...written].filter((id) => !sent.has(id)),
      ];
    };
    await expect.poll(apart, { timeout: 60_000, interval: 500 }).toEqual([]);

    const run = (...args: string[]) =>
      execFileSync(process.execPath, [CLI, ...args, '--config', rig.configPath], {
        encoding: 'utf8',
        maxBuffer: 2 ** 30,
      });
    const exported = run('export', '--source', 'postern', '--ndjson');
    expect(exported.trimEnd().split('\n').length).toBe(ROWS);
    for (const line of exported.trimEnd().split('\n')) expect(isObject(line)).toBe(true);
    const others = [
      run('export', '--csv'),
      run('query', '--json'),
      run('query', '--q', MARK, '--json'),
      run('stats', '--json'),
    ];

    await rig.kill('SIGTERM');
    const pair = [0, 1].map((n) => join(rig.directory, 'auth', `fail2ban.${n}.log`));
    const matched = pair.flatMap((file) =>
      execFileSync('fail2ban-regex', ['-o', 'ip', file, FILTER], {
        encoding: 'utf8',
        env: { ...process.env, TZ: 'UTC' },
        maxBuffer: 2 ** 28,
      })
        .split('\n')
        .filter((line) => line !== ''),
    );
    const byText = (a: string, b: string) => (a < b ? -1 : Number(a > b));
    expect(matched.sort(byText)).toEqual(banned.sort(byText));
    expect(matched).not.toContain(FRAMED);

    const audit = execFileSync('sh', ['-c', `cat "${join(rig.directory, 'audit')}"/audit.*.log`], {
      encoding: 'utf8',
      maxBuffer: 2 ** 30,
    });
    for (const line of audit.split('\n'))
      expect(UNSAFE.test(line), JSON.stringify(line.slice(0, 400))).toBe(false);
    const pairs = pair.map((file) => readFileSync(file, 'utf8'));
    const messages = collectors.map(({ reader }) => reader.messages.join('\n'));
    for (const output of [audit, exported, rig.output, relp().join('\n'), ...others, ...pairs, ...messages]) {
      const at = output.indexOf(MARK);
      expect(at === -1 ? '' : output.slice(Math.max(0, at - 200), at + 40), 'a secret that left').toBe('');
    }
    expect(rig.output).not.toMatch(/uncaught|unhandled/i);
  } finally {
    await rig.close();
    await Promise.all(collectors.map(({ server }) => server.close()));
    await rsyslog.close();
  }
}

/** Rounds of random rows until the time is over, of a seed of their own each; one round alone if FUZZ_SEED names its seed. */
export async function fuzz(seconds: number): Promise<void> {
  const until = Date.now() + seconds * 1_000;
  do {
    const seed = SEED === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(SEED);
    try {
      await round(seed);
    } catch (error) {
      throw new Error(`FUZZ_SEED=${seed} shows it again`, { cause: error });
    }
  } while (Date.now() < until && SEED === undefined);
}
