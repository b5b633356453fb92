import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { loadContacts } from '../../src/config/load.js';

const directory = mkdtempSync(join(tmpdir(), 'postern-contacts-'));
const path = join(directory, 'config.yml');
afterAll(() => rmSync(directory, { recursive: true }));

const DEFAULTS = {
  control: '/run/postern-auditd/control.sock',
  jail: 'posternproxy',
  state: '/var/lib/postern-auditd',
};
const OWN = { control: '/srv/a.sock', jail: 'mine', state: '/srv/state' };
const GOOD = 'server: here\ncontrol: /srv/a.sock\nstate: /srv/state\nfail2ban: { jail: mine }\n';

const contacts = (text: string | Buffer, env = {}) => {
  writeFileSync(path, text);
  const { refused, server, ...rest } = loadContacts(path, env);
  return { ...rest, refused: refused?.message ?? null };
};

describe('socket and jail of a configuration', () => {
  it('reads socket and jail from a valid configuration', () => {
    expect(contacts(GOOD)).toEqual({ ...OWN, refused: null });
  });

  it.each([
    ['an unknown key', `${GOOD}sinkz: {}\n`, /sinkz/],
    ['a value that is not allowed', `${GOOD}min_free: lots\n`, /min_free/],
    ['a duplicate key', `${GOOD}server: there\n`, /second time/],
    ['a tab', `${GOOD}sinks:\n\taudit: { type: file }\n`, /config\.yml:6:/],
    ['an unclosed bracket', `${GOOD}sinks: { audit: { type: file }\n`, /config\.yml:/],
    ['an unclosed quote', `${GOOD}min_free: "1G\n`, /config\.yml:/],
    ['an alias of nothing', `${GOOD}min_free: *x\n`, /config\.yml:5/],
    ['another encoding', Buffer.from(`${GOOD}# gr\xfcn\n`, 'latin1'), /UTF-8/],
  ])('reads socket and jail in spite of %s', (_, text, why) => {
    expect(contacts(text)).toEqual({ ...OWN, refused: expect.stringMatching(why) });
  });

  it('unreadable contacts are the defaults', () => {
    expect(contacts('control: 5\nstate: here\nfail2ban: [mine]\n')).toMatchObject(DEFAULTS);
    expect(contacts('{'.repeat(120_000))).toMatchObject(DEFAULTS);
    expect(contacts('- a\n')).toMatchObject(DEFAULTS);
  });

  it('contacts from the environment come first', () => {
    expect(contacts('nope: 1\n', { POSTERN_AUDITD_CONTROL: '/srv/b.sock' }).control).toBe('/srv/b.sock');
  });

  it('a named file that is missing is an error', () => {
    expect(() => loadContacts(join(directory, 'none.yml'), {})).toThrow(/does not exist/);
  });

  it.skipIf(process.getuid?.() === 0)('a file that this user may not read gives the defaults', () => {
    writeFileSync(path, GOOD);
    chmodSync(path, 0);
    expect(loadContacts(path, {})).toMatchObject(DEFAULTS);
  });
});
