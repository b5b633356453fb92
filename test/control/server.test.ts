import { mkdirSync, mkdtempSync, readlinkSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { controlRequest } from '../../src/control/client.js';
import { type ControlTarget, openControlSocket } from '../../src/control/server.js';
import { AuditdError, type ErrorCode } from '../../src/errors.js';

const home = mkdtempSync(join(tmpdir(), 'postern-control-'));
afterEach(() => rmSync(home, { recursive: true, force: true }));

it('does not link to itself if control names the runtime directory through a link such as /var/run', async () => {
  const runtime = join(home, 'run', 'postern-auditd');
  mkdirSync(runtime, { recursive: true });
  symlinkSync(join(home, 'run'), join(home, 'var-run'));
  const target = { status: () => ({ here: true }) } as unknown as ControlTarget;
  for (const named of [join(home, 'var-run', 'postern-auditd'), `${runtime}/../postern-auditd`]) {
    const path = `${named}/control.sock`;
    const control = await openControlSocket(path, runtime, target);
    expect(await controlRequest(path, 'GET', '/status')).toEqual({ here: true });
    await control.close();
  }
  const elsewhere = join(home, 'elsewhere.sock');
  const control = await openControlSocket(elsewhere, runtime, target);
  expect(readlinkSync(join(runtime, 'control.sock'))).toBe(elsewhere);
  await control.close();
});

it('passes an error on with its code, what happened and the next step', async () => {
  mkdirSync(home, { recursive: true });
  const path = join(home, 'control.sock');
  const codes: ErrorCode[] = ['CONFLICT', 'USAGE', 'CONFIG_INVALID', 'ARCHIVE_BROKEN'];
  let thrown: Error = new Error();
  const target = {
    replayStatus: () => {
      throw thrown;
    },
  } as unknown as ControlTarget;
  const control = await openControlSocket(path, null, target);
  for (const code of codes) {
    thrown = new AuditdError(code, 'The run for /srv/p. db/x.db is not over', { next: 'Wait for it' });
    await expect(controlRequest(path, 'GET', '/replay/siem')).rejects.toMatchObject({
      code,
      what: 'The run for /srv/p. db/x.db is not over',
      next: 'Wait for it',
      message: 'The run for /srv/p. db/x.db is not over. Wait for it',
    });
  }
  thrown = new Error('a defect');
  await expect(controlRequest(path, 'GET', '/replay/siem')).rejects.toMatchObject({ code: 'STATE_UNUSABLE' });
  await control.close();
});
