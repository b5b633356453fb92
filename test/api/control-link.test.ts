import { mkdirSync, mkdtempSync, readlinkSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { controlRequest } from '../../src/control/client.js';
import { type ControlTarget, openControlSocket } from '../../src/control/server.js';

const home = mkdtempSync(join(tmpdir(), 'postern-control-'));
afterEach(() => rmSync(home, { recursive: true }));

it('is no link to itself where control names the runtime directory by way of a link, as /var/run is', async () => {
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
