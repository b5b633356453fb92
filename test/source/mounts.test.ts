import { spawnSync } from 'node:child_process';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import { holdsIn } from '../../src/source/locks.js';
import { mountPointsIn } from '../../src/source/mounts.js';
import { openSource, readOn, request, START, TABLE, temporaryDirectory, Writer } from './postern-fixture.js';
import { isRoot } from './process.js';

const CLI = resolve(import.meta.dirname, '../../dist/cli.js');

/** A Postern that has two rows, in the directory `data`; and where else it can be mounted. */
async function postern(options: { mode?: string; exclusive?: boolean } = {}) {
  const home = temporaryDirectory(onTestFinished);
  const [data, there] = [join(home, 'data'), join(home, 'the re')];
  for (const directory of [data, there]) mkdirSync(directory);
  const writer = new Writer(join(data, 'posternproxy.db'));
  onTestFinished(() => writer.kill());
  await writer.ask('open', options);
  await writer.exec(TABLE);
  await writer.insert(2);
  return { home, data, there, database: join(data, 'posternproxy.db'), writer };
}

/** What a shell says with mounts of its own, which end with it. */
function withMounts(script: string, ...args: string[]): { status: number | null; out: string } {
  const { status, stdout, stderr } = spawnSync(
    'unshare',
    ['--mount', '--propagation', 'private', 'sh', '-euc', script, 'sh', ...args],
    { encoding: 'utf8', timeout: 60_000 },
  );
  return { status, out: `${stdout}${stderr}` };
}

function configOf(home: string, database: string): string {
  const path = join(home, 'config.yml');
  const sink = `sinks: { audit: { type: file, directory: "${home}/logs" } }`;
  writeFileSync(
    path,
    `source: { database: "${database}" }\nstate: ${home}/state\ncontrol: ${home}/control.sock\napi: { enabled: false }\n${sink}\n`,
  );
  return path;
}

describe.skipIf(!isRoot())('the database mounted without its directory (root only)', () => {
  const CHECK = `${process.execPath} ${CLI} check --config "$3"`;

  it.each(['wal', 'delete'])(
    'a database mounted without its directory (journal_mode=%s) is an error that says what to mount, and not a stopped Postern',
    async (mode) => {
      const { home, there, database } = await postern({ mode });
      const at = join(there, 'posternproxy.db');
      const link = join(home, 'link.db');
      writeFileSync(at, '');
      symlinkSync(at, link);
      for (const path of [at, link]) {
        const config = configOf(home, path);
        const { status, out } = withMounts(`mount --bind "$1" "$2"; ${CHECK}`, database, at, config);
        expect(status).toBe(1);
        expect(out).toContain(`error    ${path} is mounted by itself`);
        expect(out).toContain(`${there}:ro`);
        expect(out).not.toContain('stopped');
      }
    },
  );

  it('a database mounted without its directory is reported in the log and by status, which has an exit code', async () => {
    const { home, there, database } = await postern();
    const at = join(there, 'posternproxy.db');
    writeFileSync(at, '');
    const cli = `${process.execPath} ${CLI}`;
    const { out } = withMounts(
      `mount --bind "$1" "$2"; ${cli} run --config "$3" >"$4" 2>&1 & pid=$!; n=0
       until ${cli} status --config "$3" 2>/dev/null | grep -q mounted; do n=$((n + 1)); [ $n -lt 40 ] || break; sleep 0.25; done
       ${cli} status --config "$3" && code=0 || code=$?; echo "exit $code"; kill $pid; wait $pid || true; cat "$4"`,
      database,
      at,
      configOf(home, at),
      join(home, 'out'),
    );
    expect(out).toMatch(/source postern: mounted_alone|mounted by itself/);
    expect(out).toContain('exit 1');
    expect(out).toMatch(/"level":.*source postern: .* is mounted by itself|warn.*is mounted by itself/i);
  });

  it('a database is read if its directory is mounted instead', async () => {
    const { home, data, there } = await postern();
    const config = configOf(home, join(there, 'posternproxy.db'));
    const { out } = withMounts(`mount --bind -o ro "$1" "$2"; ${CHECK} || true`, data, there, config);
    expect(out).toContain('rows up to 2');
  });

  it('a database is read if only its own directory is a mount, whatever is next to it', async () => {
    const { home, data, database } = await postern();
    writeFileSync(join(data, 'other'), '');
    const { out } = withMounts(
      `mount --bind "$1" "$2"; ${CHECK} || true`,
      '/dev/null',
      join(data, 'other'),
      configOf(home, database),
    );
    expect(out).toContain('rows up to 2');
  });
});

describe('a database locked exclusively by its writer', () => {
  it('a database locked exclusively by its writer is reported as such, and not as a stopped Postern', async () => {
    const { database, writer } = await postern({ exclusive: true });
    const { source } = openSource(database);
    const look = source.read(request(START));
    expect(look).toMatchObject({ state: 'exclusive' });
    expect('message' in look && look.message).toContain('locking_mode=EXCLUSIVE');
    await writer.ask('close');
    await sleep(120); // long enough for the time stamps of files to tell a later write apart
    expect(readOn(openSource(database), START).ids).toEqual([1, 2]);
  });

  it.skipIf(!isRoot())(
    'an exclusively locked database behind a read-only mount is reported, and check has an exit code (root only)',
    async () => {
      const { home, data, there } = await postern({ exclusive: true });
      const config = configOf(home, join(there, 'posternproxy.db'));
      const { status, out } = withMounts(
        `mount --bind -o ro "$1" "$2"; mount --bind /dev/null /proc/locks; ${process.execPath} ${CLI} check --config "$3"`,
        data,
        there,
        config,
      );
      expect(status).toBe(1);
      expect(out).toMatch(/error .*posternproxy\.db is locked by its writer for good/);
      expect(out).not.toContain('stopped');
    },
  );

  it('an exclusively locked database with a rollback journal is reported as a lock or a long transaction', async () => {
    const { database } = await postern({ mode: 'delete', exclusive: true });
    await sleep(120); // a journal that is fresh is that of a commit
    const look = openSource(database).source.read(request(START));
    expect(look).toMatchObject({ state: 'locked' });
    expect('message' in look && look.message).toMatch(
      /transaction open, or has locked the database for itself \(PRAGMA locking_mode=EXCLUSIVE\)/,
    );
  });
});

describe("the kernel's lists of mounts and locks", () => {
  it("octal numbers in the kernel's list of mounts are decoded", () => {
    const text = [
      '36 35 98:0 / /mnt1 rw,noatime master:1 - ext3 /dev/root rw',
      String.raw`37 35 98:0 /db /a\040b\011c\134d/p.db ro - ext4 /dev/x ro`,
      '',
    ].join('\n');
    expect([...mountPointsIn(text)]).toEqual(['/mnt1', '/a b\tc\\d/p.db']);
  });

  it("only a write lock of this file on the readers' bytes counts as exclusive", () => {
    const line = (access: string, inode: number, from: number, to: number | string) =>
      `1: POSIX  ADVISORY  ${access} 4711 fd:01:${inode} ${from} ${to}\n1: -> POSIX ADVISORY READ 1 fd:01:9 0 0`;
    expect(holdsIn(line('WRITE', 7, 1_073_741_826, 1_073_742_335), '7')).toBe(true);
    expect(holdsIn(line('WRITE', 7, 0, 'EOF'), '7')).toBe(true);
    expect(holdsIn(line('READ', 7, 1_073_741_826, 1_073_742_335), '7')).toBe(false);
    expect(holdsIn(line('WRITE', 7, 1_073_741_825, 1_073_741_825), '7')).toBe(false); // RESERVED: a transaction
    expect(holdsIn(line('WRITE', 8, 1_073_741_826, 1_073_742_335), '7')).toBe(false);
  });
});
