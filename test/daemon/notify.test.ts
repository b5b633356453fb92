import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { controlRequest } from '../../src/control/client.js';
import Database from '../../src/load-sqlite.js';
import { createAuditTable, createRecorder } from '../../src/recorder/recorder.js';
import { Inbox } from '../sinks/webhook/inbox.js';
import { CLI, DaemonProcess } from '../support/daemon-process.js';

const run = promisify(execFile);

describe('notify test', () => {
  const daemon = new DaemonProcess('notify');
  let inbox: Inbox;
  const configure = (webhook: string) =>
    writeFileSync(
      daemon.configPath,
      `server: pp1
source: { database: ${daemon.directory}/posternproxy.db }
state: ${daemon.directory}/state
control: ${daemon.control}
min_free: 1M
api: { enabled: false }
sinks:
  phone: { type: webhook, preset: ntfy, url: "${inbox.url('/postern')}", group_wait: 1s${webhook} }
fail2ban: { bans: ${daemon.directory}/bans.log }
`,
    );
  const notify = async (...args: string[]) => {
    const given = ['notify', 'test', '--config', daemon.configPath, ...args];
    return run(process.execPath, [CLI, ...given]).then(
      ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
      (error: { code: number; stdout: string; stderr: string }) => error,
    );
  };

  beforeAll(async () => {
    inbox = await Inbox.open();
    const db = new Database(`${daemon.directory}/posternproxy.db`);
    db.pragma('journal_mode = WAL');
    createAuditTable(db);
    // Of a table of which no row was ever read, all rows count as a backlog, which raises no alert.
    createRecorder(db).record({ action: 'auth.logout' });
    db.close();
    configure('');
    await daemon.start();
  });
  afterAll(async () => {
    await daemon.close();
    await inbox.close();
  });

  it('sends a real event the way of all messages, and says that it was taken', async () => {
    const { code, stdout } = await notify();
    expect([code, stdout]).toEqual([0, 'phone: the message was taken\n']);
    expect(inbox.bodies()).toMatchObject([{ topic: 'postern', title: 'Test message on pp1' }]);
    expect(JSON.parse((await notify('--json')).stdout)).toEqual({ sink: 'phone', sent: true });
  });

  it('tells of a login after a brute force, and not of the failures', async () => {
    const db = new Database(`${daemon.directory}/posternproxy.db`);
    const recorder = createRecorder(db);
    const attempt = { address: '203.0.113.7', user: { name: 'jan', email: 'jan@example.org' } };
    for (let n = 0; n < 5; n++) recorder.record({ action: 'auth.login_failure', ...attempt });
    const before = inbox.taken.length;
    recorder.record({ action: 'auth.login_success', ...attempt });
    const came = () =>
      inbox
        .bodies()
        .slice(before)
        .some(({ title }) => title === 'Login after failed attempts on pp1');
    await vi.waitFor(() => expect(came()).toBe(true), { timeout: 60_000 });
    db.close();
    expect(
      inbox
        .bodies()
        .map(({ message }) => String(message))
        .join('\n'),
    ).not.toContain('Login failed');
    expect(inbox.bodies().at(-1)?.message).toMatch(
      /^Login after failed attempts .*jan.* from 203\.0\.113\.7 on pp1/,
    );
  });

  it('says what the receiver answered', async () => {
    inbox.answers = Array.from({ length: 100 }, () => ({ status: 403 }));
    const { code, stderr } = await notify('--timeout', '5');
    inbox.answers = [];
    expect(code).toBe(1);
    expect(stderr).toMatch(/phone: no message was taken within 5 s .*it answered 403.*credentials/s);
  });

  it('says which key of the filter keeps the test out, and which sinks there are', async () => {
    const { code, stderr } = await notify('pager');
    expect([code, stderr]).toEqual([2, expect.stringContaining('Name one of: phone')]);
    configure(', events: { category: [alert, ban], min_severity: error }');
    const filtered = await notify();
    expect([filtered.code, filtered.stderr]).toEqual([
      2,
      expect.stringContaining('sinks.phone.events.category, sinks.phone.events.min_severity'),
    ]);
    configure(', events: { action: [daemon.notify_test], server: [other] }');
    const elsewhere = await notify();
    expect([elsewhere.code, elsewhere.stderr]).toEqual([
      2,
      expect.stringContaining('sinks.phone.events.server.'),
    ]);
  });

  it('takes the way of all messages where the filter names this server', async () => {
    configure(', events: { action: [daemon.notify_test], server: [pp1] }');
    await controlRequest(daemon.control, 'POST', '/reload');
    const before = inbox.taken.length;
    expect((await notify()).stdout).toBe('phone: the message was taken\n');
    expect(inbox.taken).toHaveLength(before + 1);
  });
});
