import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import Database from '../../src/load-sqlite.js';
import { createAuditTable, createRecorder, type Recorder } from '../../src/recorder/recorder.js';
import { PrivateFail2ban } from '../commands/private-fail2ban.js';
import { image, whyMissing } from './image.js';
import { ContainerHost } from './network.js';
import { composeService, Podman } from './podman.js';

// The image under podman, as compose.yaml runs it, and fail2ban on the host: from rows of a real table to a ban, and back. There is no
// image of Alpine's fail2ban here; its shell and tools are busybox, and so are those of this fail2ban.

const reason =
  process.getuid?.() === 0
    ? whyMissing(['podman', 'runc', 'iptables', 'ip', 'busybox', 'fail2ban-client'])
    : 'not root';
if (reason !== null && process.env.CI) throw new Error(reason);
if (reason !== null) console.warn(`SKIPPED the container and fail2ban: ${reason}`);

const LOGS = '/var/log/posternproxy';
/** Postern's user and group. */
const [OWNER, GROUP] = [4_711, 4_712];

describe.skipIf(reason !== null)('the container image, and fail2ban on its host', () => {
  const scratch = mkdtempSync(join(tmpdir(), 'pa-circle-'));
  const place = (name: string) => join(scratch, name);
  const service = composeService();
  const podman = new Podman();
  let network: ContainerHost;
  let fail2ban: PrivateFail2ban;
  let served: ChildProcess;
  let db: Database;
  let recorder: Recorder;

  const exec = (...command: string[]) => podman.try('exec', 'auditd', ...command);
  const auditd = (...args: string[]) => exec('/usr/bin/postern-auditd', ...args);

  async function until(condition: () => boolean, what: string): Promise<void> {
    for (const deadline = Date.now() + 60_000; !condition(); await sleep(50))
      if (Date.now() > deadline)
        throw new Error(`${what}: not within a minute\n${podman.try('logs', 'auditd').stderr}`);
  }

  interface Line {
    readonly event: { readonly action: string };
    readonly source?: { readonly ip: string };
    readonly host?: { readonly name: string };
    readonly postern: { readonly source: string; readonly resource?: { readonly id: string } };
  }
  function linesOf(directory: string): Line[] {
    const names = existsSync(join(place('log'), directory)) ? readdirSync(join(place('log'), directory)) : [];
    return names
      .filter((name) => /\.\d+\.log$/.test(name))
      .flatMap((name) =>
        readFileSync(join(place('log'), directory, name), 'utf8')
          .split('\n')
          .slice(0, -1),
      )
      .map((line) => JSON.parse(line) as Line);
  }

  /** A script that runs a command where busybox is the shell, and all of its tools, as in the images of fail2ban. */
  function alpine(): string {
    const [script, tools, busybox] = [place('alpine'), place('tools'), '/bin/busybox'];
    mkdirSync(tools);
    for (const name of execFileSync(busybox, ['--list'], { encoding: 'utf8' }).trim().split('\n'))
      symlinkSync(busybox, join(tools, name));
    const text = `#!${busybox} sh\nmount --bind ${busybox} /bin/sh\nPATH=${tools}:$PATH exec "$@"\n`;
    writeFileSync(script, text, { mode: 0o755 });
    return script;
  }

  beforeAll(async () => {
    chmodSync(scratch, 0o755);
    for (const name of ['data', 'state', 'log']) mkdirSync(place(name));
    db = new Database(join(place('data'), 'posternproxy.db'));
    db.pragma('journal_mode = WAL');
    createAuditTable(db);
    recorder = createRecorder(db);
    recorder.record({ action: 'setting.update' });
    for (const name of readdirSync(place('data'))) {
      chownSync(join(place('data'), name), OWNER, GROUP);
      chmodSync(join(place('data'), name), 0o640);
    }
    chownSync(place('data'), OWNER, GROUP);
    chmodSync(place('data'), 0o750);
    // As a new volume gets it from the image, and as INSTALL.md makes the directory of the logs.
    for (const name of ['state', 'log']) chownSync(place(name), 65_532, 4);
    chmodSync(place('log'), 0o2755);
    writeFileSync(place('auditd.yml'), 'api: { listen: "0.0.0.0:8181", allow_remote: true }\n');

    network = new ContainerHost();
    const [program, ...args] = network.listen;
    served = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    if (served.stdout !== null) await once(served.stdout, 'data');

    const name = podman.load(image());
    const options = podman.runOptions(service, {
      '/var/lib/posternproxy': place('data'),
      '/var/lib/postern-auditd': place('state'),
      '/etc/postern-auditd/config.yml': place('auditd.yml'),
      [LOGS]: place('log'),
    });
    podman.start(
      'auditd',
      ...options,
      `--group-add=${GROUP}`,
      '--hostname=gateway-1',
      `--network=ns:/run/netns/${network.inside}`,
      name,
    );
    await until(() => auditd('status', '--healthz').status === 0, 'the daemon is healthy');

    fail2ban = new PrivateFail2ban(null, `ip netns exec ${network.host} unshare --mount ${alpine()}`);
    const etc = join(fail2ban.directory, 'etc');
    cpSync('/etc/fail2ban/action.d', join(etc, 'action.d'), { recursive: true });
    const files = podman.bytes(
      'exec',
      'auditd',
      '/usr/bin/postern-auditd',
      'jail',
      '--tar',
      '--chain',
      'INPUT,DOCKER-USER',
    );
    execFileSync('tar', ['-x', '-C', etc], { input: files });
    const jail = join(etc, 'jail.d/posternproxy.conf');
    writeFileSync(jail, readFileSync(jail, 'utf8').replaceAll(LOGS, place('log')));
    fail2ban.client('reload', '--restart');
  }, 300_000);

  afterAll(() => {
    fail2ban?.close();
    podman.remove();
    served?.kill('SIGKILL');
    network?.remove();
    db?.close();
    rmSync(scratch, { recursive: true, force: true });
  }, 60_000);

  it('runs as its own user without any capability, and can write nothing but its own places', () => {
    const pid = podman.run('inspect', '--format', '{{.State.Pid}}', 'auditd').trim();
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    expect(status).toMatch(/^Uid:\t65532\t65532\t65532\t65532$/m);
    expect(status).toMatch(/^Cap(Inh|Prm|Eff|Bnd|Amb):\t0{16}$/m);
    expect(status.match(/^Cap\w+:\t0{16}$/gm)).toHaveLength(5);
    expect(status).toMatch(/^NoNewPrivs:\t1$/m);
    const write = (path: string) =>
      exec('/usr/lib/postern-auditd/node/bin/node', '-e', `fs.writeFileSync(${JSON.stringify(path)}, '')`)
        .stderr;
    expect(write('/x')).toContain('EROFS');
    expect(write('/var/lib/posternproxy/x')).toContain('EROFS');
    expect(write('/etc/postern-auditd/config.yml')).toContain('EROFS');
    expect(exec('/bin/sh', '-c', 'true').status).not.toBe(0);
  });

  it('is alive for the health check of compose.yaml and at /healthz', () => {
    const [kind, ...probe] = service.healthcheck.test;
    expect(kind).toBe('CMD');
    expect(exec(...probe)).toMatchObject({ status: 0, stdout: 'ok\n' });
    const fetched = `fetch('http://10.88.0.2:8181/healthz').then(async (r) => console.log(r.status, await r.text()))`;
    expect(network.in(network.host, process.execPath, '-e', fetched)).toBe(
      '200 {"status":"ok","failing":[]}\n',
    );
  });

  it('check finds nothing wrong, and names no command that only a host has', () => {
    const { stdout } = auditd('check');
    expect(stdout).not.toMatch(/^ {2}error/m);
    expect(stdout).toContain('this runs in a container');
    expect(stdout).not.toMatch(/install\.sh|systemctl|journalctl|apt-get/);
  });

  it('failed logins in the table become a ban of the host, and the ban an event of the container', async () => {
    expect(network.attack()).toBe('open');
    for (let n = 0; n < 5; n++)
      recorder.record({ action: 'auth.login_failure', address: network.attacker, details: { n } });
    const failures = (lines: readonly Line[]) =>
      lines.filter(
        ({ event, source }) => event.action === 'auth.login_failure' && source?.ip === network.attacker,
      );
    await until(() => failures(linesOf('auth')).length === 5, 'the lines of fail2ban');
    await until(() => failures(linesOf('audit')).length === 5, 'the lines of the audit log');
    expect(linesOf('audit').find(({ postern }) => postern.source === 'postern')?.host?.name).toBe(
      'gateway-1',
    );

    await until(() => fail2ban.client('get', 'posternproxy', 'banip').includes(network.attacker), 'the ban');
    await until(() => network.attack() === 'refused', 'the attacker is locked out');
    const chain = network.in(network.host, 'iptables', '-S', 'DOCKER-USER');
    expect(chain).toContain('--ctorigdstport 443');

    const own = (action: string) =>
      linesOf('audit').filter(
        ({ event, postern }) => event.action === action && postern.resource?.id === network.attacker,
      );
    await until(() => own('ban.ban').length === 1, "the container's event of the ban");
    fail2ban.client('set', 'posternproxy', 'unbanip', network.attacker);
    await until(() => own('ban.unban').length === 1, "the container's event of the unban");
    expect(network.attack()).toBe('open');
    expect(own('ban.ban')).toHaveLength(1);
  });

  it('stops at SIGTERM within its time, and continues where it was', async () => {
    podman.run('stop', '--time=15', 'auditd');
    expect(podman.run('inspect', '--format', '{{.State.ExitCode}}', 'auditd').trim()).toBe('0');
    const before = linesOf('audit').length;
    recorder.record({ action: 'setting.update' });
    podman.run('start', 'auditd');
    const isNew = ({ event, postern }: Line) =>
      postern.source === 'postern' && event.action === 'setting.update';
    await until(() => linesOf('audit').filter(isNew).length === 2, 'the row that was written meanwhile');
    expect(linesOf('audit').length).toBeGreaterThan(before);
  });
});
