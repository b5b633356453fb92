import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  cpSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { controlRequest } from '../../src/control/client.js';
import { run } from '../commands/cli.js';
import { CLI } from '../support/daemon-process.js';
import { openFiles } from '../support/descriptors.js';
import { inAnotherProcess } from '../support/sqlite-child.js';
import { DaemonRig } from './daemon-fixture.js';

const root = process.getuid?.() === 0;
if (!root) console.warn('SKIPPED without root: the full-disk tests (they mount a tmpfs)');

let rig: DaemonRig;

beforeEach(() => {
  rig = new DaemonRig();
});

afterEach(async () => {
  await rig.close();
});

describe('SIGTERM', () => {
  it('ships the remaining rows and stops within 5 s, exit code 0', async () => {
    await rig.start();
    rig.append(30);
    const start = Date.now();
    expect(await rig.kill('SIGTERM')).toBe(0);
    expect(Date.now() - start).toBeLessThan(5_000);
    const ids = rig.auditLines().filter(({ source }) => source === 'postern');
    expect(ids.length).toBe(30);
    expect(rig.auditLines().at(-1)?.action).toBe('daemon.stop');
  });

  it('leaves no open file beside the database', async () => {
    await rig.start();
    rig.append(3);
    await rig.shipped();
    await sleep(300);
    const open = () => openFiles(rig.child?.pid ?? 0).filter((path) => path.startsWith(rig.database));
    // A read takes a fraction of a millisecond, so at least one of five moments is between two reads.
    const moments: string[][] = [];
    for (let n = 0; n < 5; n++) {
      moments.push(open());
      await sleep(37);
    }
    expect(moments).toContainEqual([]);
    await rig.kill('SIGTERM');
  });
});

describe('SIGHUP', () => {
  it('reloads the configuration: a new sink gets everything from the beginning, and nothing twice', async () => {
    rig.append(10);
    await rig.start();
    await rig.shipped();
    const text = readFileSync(rig.configPath, 'utf8');
    writeFileSync(
      rig.configPath,
      text.replace('sinks:', `sinks:\n  second: { type: file, directory: ${rig.place}/second }`),
    );
    rig.child?.kill('SIGHUP');
    await rig.until(({ sinks }) => sinks.second?.cursors.postern?.id === 10, 'the new sink');
    rig.append(5);
    await rig.shipped();
    await rig.kill('SIGTERM');
    expect(
      rig
        .auditLines()
        .filter(({ source }) => source === 'postern')
        .map(({ sequence }) => sequence),
    ).toEqual(Array.from({ length: 15 }, (_, at) => at + 1));
    expect(rig.auditLines().some(({ action }) => action === 'daemon.reload')).toBe(true);
  });

  it.each([0, 1_000])(
    'a reload does not delay a stop %i ms later, whatever new sinks wait for',
    async (ms) => {
      await rig.start();
      const silent = createServer();
      await new Promise<void>((done) => silent.listen(0, '127.0.0.1', done));
      const { port } = silent.address() as AddressInfo;
      const url = `nats://127.0.0.1:${port}`;
      const text = readFileSync(rig.configPath, 'utf8');
      writeFileSync(
        rig.configPath,
        text.replace('sinks:', `sinks:\n  hub: { type: jetstream, servers: ["${url}", "${url}", "${url}"] }`),
      );
      rig.append(5);
      rig.child?.kill('SIGHUP');
      await sleep(ms);
      expect(await rig.kill('SIGTERM')).toBe(0);
      writeFileSync(rig.configPath, text);
      await rig.start();
      await rig.shipped();
      const lines = rig.auditLines();
      expect(lines.filter(({ source }) => source === 'postern').length).toBe(5);
      expect(lines.filter(({ action }) => action === 'daemon.stop')).toHaveLength(1);
      silent.close();
    },
  );

  it('a reload is ignored once the daemon stops: it still ships all remaining rows', async () => {
    await rig.start();
    const silent = createServer();
    await new Promise<void>((done) => silent.listen(0, '127.0.0.1', done));
    const url = `nats://127.0.0.1:${(silent.address() as AddressInfo).port}`;
    const text = readFileSync(rig.configPath, 'utf8');
    writeFileSync(
      rig.configPath,
      text.replace('sinks:', `sinks:\n  hub: { type: jetstream, servers: ["${url}"] }`),
    );
    const connected = once(silent, 'connection');
    rig.child?.kill('SIGHUP');
    await connected;
    rig.child?.kill('SIGHUP'); // waits for the first one
    await sleep(100);
    const ended = rig.kill('SIGTERM');
    await sleep(100);
    rig.child?.kill('SIGHUP');
    expect(await ended).toBe(0);
    const own = rig.auditLines().filter(({ source }) => source === 'auditd');
    expect(own.map(({ action }) => action)).toEqual(['daemon.start', 'daemon.reload', 'daemon.stop']);
    silent.close();
  });

  it('repeated reloads leak nothing', async () => {
    await rig.start();
    for (let n = 0; n < 12; n++) await controlRequest(rig.control, 'POST', '/reload');
    await rig.kill('SIGTERM');
    expect(rig.output.match(/configuration read again/g)).toHaveLength(12);
    expect(rig.output).not.toContain('MaxListenersExceededWarning');
  });

  it('an invalid configuration is rejected with file, line and column, and the previous one stays active', async () => {
    await rig.start();
    writeFileSync(
      rig.configPath,
      readFileSync(rig.configPath, 'utf8').replace('min_free: 1M', 'min_fre: 1M'),
    );
    rig.child?.kill('SIGHUP');
    await rig.until(() => rig.output.includes('rejected'), 'the refusal');
    expect(rig.output).toMatch(/config\.yml:\d+:\d+.*min_fre.*min_free/);
    rig.append(5);
    await rig.shipped();
    expect(rig.auditLines().filter(({ source }) => source === 'postern').length).toBe(5);
  });
});

describe('postern-auditd reload', () => {
  it('reload fails with an invalid configuration, commands still reach the daemon, and a valid one lists its changes', async () => {
    const runtime = mkdtempSync(join(tmpdir(), 'postern-run-'));
    const unit = { RUNTIME_DIRECTORY: runtime };
    await rig.close();
    rig = new DaemonRig({ env: unit });
    await rig.start();
    const good = readFileSync(rig.configPath, 'utf8');
    const ask = (command: string, env = {}) => run([...command.split(' '), '--config', rig.configPath], env);
    const typo = good.replace('min_free: 1M', 'min_fre: 1M');
    writeFileSync(rig.configPath, typo);

    const place = /config\.yml:6:1: min_fre: found an unknown key\. Did you mean min_free\?/;
    const refused = ask('reload');
    expect(refused.code).toBe(78);
    expect(refused.err).toMatch(place);
    expect(refused.err).toContain(
      'The daemon rejected the new configuration, and the previous one stays active.',
    );
    const status = ask('status');
    expect(status.code).toBe(1);
    expect(status.err).toMatch(place);
    expect(status.err).toContain(`The command continues with the control socket ${rig.control}.`);
    expect(status.out).toContain('new configuration rejected: config.yml:6:1: min_fre: found an unknown key');
    const refusal = JSON.parse(ask('status --json').out) as {
      config_refused: { at: number; message: string };
    };
    expect(refusal.config_refused.message).toMatch(/^config\.yml:6:1: min_fre/);
    expect(Date.now() - refusal.config_refused.at).toBeLessThan(600_000);
    expect(ask('token list').out).toContain('There are no tokens');
    expect(ask('retain --dry-run').err).not.toContain('No answer');
    expect(JSON.parse(ask('check --json').out)).toMatchObject({
      sections: [
        { name: 'Configuration', findings: [{ level: 'error' }] },
        {
          name: 'Daemon',
          findings: [
            { level: 'ok', what: expect.stringMatching(/^it (is running|runs)/) },
            { level: 'error', what: expect.stringContaining('new configuration rejected') },
          ],
        },
      ],
    });

    // The socket has not moved, but only the directory of the unit still leads to it.
    const moved = good.replace(`control: ${rig.control}`, `control: ${rig.place}/elsewhere.sock`);
    writeFileSync(rig.configPath, moved.replace('min_free: 1M', 'min_free: 2M'));
    expect(ask('reload').code).toBe(3);
    const taken = ask('reload', unit);
    expect(taken.out).toBe(
      'The configuration is reloaded: 2 keys have changed (control, min_free).\nThese take effect after a restart: control.\n',
    );
    writeFileSync(rig.configPath, good);
    expect(ask('status').out).not.toContain('rejected');
    expect(await rig.kill('SIGTERM')).toBe(0);
    expect(ask('reload').code).toBe(3);
    writeFileSync(rig.configPath, typo);
    expect(ask('token create x').code).toBe(78);
    rmSync(runtime, { recursive: true });
  });
});

describe.skipIf(!existsSync('/etc/fail2ban'))('a configuration whose sinks leave fail2ban out', () => {
  it('a missing fail2ban sink is warned of at the start and at a reload, with the line to add', async () => {
    const text = readFileSync(rig.configPath, 'utf8').replace(/^ {2}auth: .*\n/m, '');
    writeFileSync(rig.configPath, text);
    const warned = () =>
      rig.output.split('but there is no sink of type fail2ban: nobody is banned').length - 1;
    await rig.start();
    await rig.until(() => warned() === 1, 'the warning');
    expect(rig.output).toContain('as that key replaces all default sinks: auth: { type: fail2ban }');
    rig.child?.kill('SIGHUP');
    await rig.until(() => warned() === 2, 'the second warning');
  });
});

describe('two daemons', () => {
  it('the second daemon with one state directory names the lock and exits', async () => {
    await rig.start();
    const second = spawn(process.execPath, [CLI, 'run', '--config', rig.configPath]);
    let text = '';
    second.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
    });
    const code = await new Promise((done) => second.once('close', done));
    expect(code).toBe(1);
    expect(text).toMatch(/Another postern-auditd works with/);
    rig.append(2);
    await rig.shipped();
  });
});

describe('the control socket', () => {
  it('the control socket is for owner and group only, and is created again after a kill', async () => {
    await rig.start();
    expect(statSync(rig.control).mode & 0o777).toBe(0o660);
    await rig.kill();
    await rig.start();
    expect(await rig.status()).not.toBeNull();
  });
});

async function wakeUpsInFiveSeconds(): Promise<number> {
  const pid = rig.child?.pid ?? 0;
  const wakeUps = () => {
    const status = readFileSync(`/proc/${pid}/task/${pid}/status`, 'utf8');
    return Number(/^voluntary_ctxt_switches:\s*(\d+)/m.exec(status)?.[1]);
  };
  const before = wakeUps();
  await sleep(5_000);
  return wakeUps() - before;
}

describe('an idle daemon', () => {
  it('wakes about once a second, for everything that it does again and again', async () => {
    await rig.close();
    const directory = mkdtempSync(join(tmpdir(), 'postern-idle-'));
    rig = new DaemonRig({ api: `{ enabled: true, listen: "unix:${join(directory, 'api.sock')}" }` });
    onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
    await rig.start();
    rig.append(3);
    await rig.shipped();
    // With a timer for each task it is some 18. The reads that follow the rows, and V8's own work after a start, pass.
    await expect.poll(wakeUpsInFiveSeconds, { timeout: 120_000 }).toBeLessThan(10);
  });
});

describe('a database that is not there', () => {
  it('a missing database is waited for, and read from its first row once it is created', async () => {
    rig.db.close();
    const away = `${rig.database}.away`;
    execFileSync('mv', [rig.database, away]);
    await rig.start();
    const status = await rig.until(({ sources }) => sources.postern?.state === 'missing', 'missing');
    expect(status.sources.postern?.message).toContain(rig.database);
    await expect.poll(wakeUpsInFiveSeconds, { timeout: 120_000 }).toBeLessThan(20); // some 55 with the pauses of a lock
    execFileSync('mv', [away, rig.database]);
    rig.db = new (await import('../../src/load-sqlite.js')).default(rig.database);
    const { createRecorder } = await import('../../src/recorder/recorder.js');
    rig.recorder = createRecorder(rig.db);
    rig.append(4);
    await rig.shipped();
    expect(rig.auditLines().filter(({ source }) => source === 'postern').length).toBe(4);
  });
});

describe('a lost state.db', () => {
  it('a lost state.db is rebuilt from the files: nothing is written twice', async () => {
    rig.append(20);
    await rig.start();
    await rig.shipped();
    await rig.kill('SIGTERM');
    rmSync(join(rig.place, 'state'), { recursive: true });
    rig.append(5);
    await rig.start();
    await rig.shipped();
    await rig.kill('SIGTERM');
    const ids = rig
      .auditLines()
      .filter(({ source }) => source === 'postern')
      .map(({ sequence }) => sequence);
    expect(ids).toEqual(Array.from({ length: 25 }, (_, at) => at + 1));
    const own = rig.auditLines().filter(({ source }) => source === 'auditd');
    expect(own.map(({ action }) => action)).toEqual([
      'daemon.start',
      'daemon.stop',
      'daemon.start',
      'daemon.stop',
    ]);
    expect(new Set(own.map(({ id }) => id)).size).toBe(4);
  });
});

describe('rows written just before a kill -9, which the cursor does not know', () => {
  it('rows after the saved cursor are found in the files, and not written again even if the row at the mark is edited', async () => {
    const state = join(rig.place, 'state');
    rig.append(5);
    await rig.start();
    await rig.shipped();
    await rig.kill('SIGTERM');
    cpSync(state, `${state}.before`, { recursive: true });
    rig.append(2);
    await rig.start();
    await rig.shipped();
    await rig.kill('SIGTERM');
    rmSync(state, { recursive: true });
    renameSync(`${state}.before`, state);
    rig.db.exec("UPDATE audit_log SET user_name = 'erased' WHERE id = 5");
    await rig.start();
    await rig.until(
      () => rig.auditLines().some(({ action }) => action === 'daemon.row_edited'),
      'the edited one',
    );
    await rig.shipped();
    expect((await rig.status())?.sources.postern?.timeline).toBe(1);
    await rig.kill('SIGTERM');
    const lines = rig.auditLines();
    expect(new Set(lines.map(({ id }) => id)).size).toBe(lines.length);
    expect(lines.filter(({ source }) => source === 'postern').length).toBe(7);
    expect(lines.filter(({ action }) => action === 'daemon.row_edited').length).toBe(1);
  });
});

describe('bans', () => {
  it('bans become events, also those from while the daemon was down, each once', async () => {
    const bans = join(rig.place, 'bans');
    execFileSync('mkdir', ['-p', bans]);
    const line = (ip: string) =>
      `${JSON.stringify({ time: new Date().toISOString(), event: 'ban', ip, failures: 5, jail: 'posternproxy', bantime: 3600 })}\n`;
    writeFileSync(join(bans, 'bans.log'), line('203.0.113.1'));
    await rig.start();
    await rig.until(({ sinks }) => (sinks.audit?.cursors.auditd?.id ?? 0) >= 2, 'the first ban');
    await rig.kill();
    writeFileSync(join(bans, 'bans.log'), line('203.0.113.2'), { flag: 'a' });
    await rig.start();
    await rig.until(
      () => rig.auditLines().filter(({ action }) => action === 'ban.ban').length === 2,
      'the second ban',
    );
    await rig.kill('SIGTERM');
    expect(rig.authLines()).toEqual([]);
  });
});

describe.skipIf(!root)('a full disk', () => {
  it('a full disk stops writing, is logged once, and loses no line, also with state.db on it', async () => {
    const mount = mkdtempSync(join(tmpdir(), 'postern-full-'));
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=3m', 'tmpfs', mount]);
    const small = new DaemonRig({ place: mount, minFree: '0B' });
    try {
      await small.start();
      for (let n = 0; n < 40; n++) {
        small.append(100);
        await sleep(20);
      }
      const full = await small.until(({ sinks }) => sinks.audit?.last_error !== null, 'the disk is full');
      expect(full.sinks.audit?.last_error?.message).toMatch(/ENOSPC|space|full/i);
      await sleep(1_500);
      // Either may meet the full disk first; each logs it once.
      expect(small.output.match(/sink audit is down/g)?.length ?? 0).toBeLessThanOrEqual(1);
      expect(small.output.match(/cannot save the cursor \(sink audit\)/g)?.length ?? 0).toBeLessThanOrEqual(
        1,
      );
      execFileSync('mount', ['-o', 'remount,size=64m', mount]);
      await small.shipped();
      await small.kill('SIGTERM');
      const lines = small.auditLines();
      expect(new Set(lines.map(({ id }) => id)).size).toBe(lines.length);
      expect(lines.filter(({ source }) => source === 'postern').map(({ sequence }) => sequence)).toEqual(
        Array.from({ length: 4_000 }, (_, at) => at + 1),
      );
      expect(small.output).toMatch(/sink audit is back|saves cursors again/);
    } finally {
      await small.close();
      execFileSync('umount', ['-l', mount]);
      rmSync(mount, { recursive: true, force: true });
    }
  });

  it('a full disk under state.db does not end the shipping after a reload', async () => {
    const state = join(rig.place, 'state');
    const ballast = join(state, 'ballast');
    execFileSync('mkdir', [state]);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', state]);
    try {
      rig.append(3);
      await rig.start();
      await rig.shipped();
      inAnotherProcess(join(state, 'state.db'), 'PRAGMA wal_checkpoint(TRUNCATE)');
      spawnSync('dd', ['if=/dev/zero', `of=${ballast}`, 'bs=4k'], { stdio: 'ignore' }); // until there is no room
      rig.append(300);
      await rig.until(() => rig.output.includes('cannot save the cursor (sink audit)'), 'the disk is full');
      rig.child?.kill('SIGHUP');
      await rig.until(() => rig.output.includes('configuration read again'), 'the reload');
      expect(rig.output).toMatch(/stopping the shipping failed: .*full/);
      rmSync(ballast);
      rig.append(1);
      await rig.shipped();
      await rig.kill('SIGTERM');
      const lines = rig.auditLines().filter(({ source }) => source === 'postern');
      expect(lines.map(({ sequence }) => sequence)).toEqual(Array.from({ length: 304 }, (_, at) => at + 1));
    } finally {
      await rig.kill();
      execFileSync('umount', ['-l', state]);
    }
  });
});
