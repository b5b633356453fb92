import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseConfig } from '../../src/config/load.js';
import { checkSinkConfigured } from '../../src/fail2ban/check-sink-configured.js';
import { renderJail } from '../../src/fail2ban/render-jail.js';

const SIEM = 'sinks:\n  siem: { type: syslog, transport: relp, targets: ["siem.example.net:2514"] }\n';
let etc: string;

beforeEach(() => {
  etc = mkdtempSync(join(tmpdir(), 'postern-etc-fail2ban-'));
  mkdirSync(join(etc, 'jail.d'));
});

afterEach(() => rmSync(etc, { recursive: true }));

function jail(authDirectory: string): void {
  const text = renderJail(parseConfig('', null).fail2ban, { authDirectory });
  writeFileSync(join(etc, 'jail.d/posternproxy.conf'), text);
}

describe('a configuration without a sink for fail2ban', () => {
  it('is an error if the jail is installed, with the lines to add', () => {
    jail('/var/log/posternproxy/auth');
    expect(checkSinkConfigured(parseConfig(SIEM, null), etc)).toEqual({
      level: 'error',
      what: `fail2ban has the jail posternproxy (${etc}/jail.d/posternproxy.conf), but there is no sink of type fail2ban: nobody is banned`,
      next: 'add a sink for bans under sinks in the configuration, as that key replaces all default sinks:\n    auth: { type: fail2ban }',
    });
  });

  it('gets the directory that the jail reads, if it is not the usual one', () => {
    jail('/srv/auth');
    const next = checkSinkConfigured(parseConfig(SIEM, null), etc)?.next ?? '';
    expect(next).toContain('auth: { type: fail2ban, directory: /srv/auth }');
    jail('/srv/auth');
    const added = `${SIEM}${next.split('\n')[1]?.replace(/^ {4}/, '  ')}\n`;
    expect(checkSinkConfigured(parseConfig(added, null), etc)).toBeNull();
  });

  it('is a warning if fail2ban is installed without the jail, and nothing without fail2ban', () => {
    expect(checkSinkConfigured(parseConfig(SIEM, null), etc)?.level).toBe('warning');
    expect(checkSinkConfigured(parseConfig(SIEM, null), join(etc, 'absent'))).toBeNull();
  });

  it.each(['', 'sinks: { auth: { type: fail2ban } }'])('is none with %j', (text) => {
    jail('/var/log/posternproxy/auth');
    expect(checkSinkConfigured(parseConfig(text, null), etc)).toBeNull();
  });
});
