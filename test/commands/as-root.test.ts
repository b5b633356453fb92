import {
  chmodSync,
  chownSync,
  lchownSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import Database from '../../src/load-sqlite.js';
import { State } from '../../src/shipping/state.js';
import { prepareHotJournal } from '../support/hot-journal.js';
import { run } from './cli.js';

const root = process.geteuid?.() === 0;
if (!root) console.warn('SKIPPED commands of root in the state of another user: root only');

/** Nobody has it. */
const DAEMON = 54_321;

let home: string;
let state: string;
let config: string;
/** Root's, with a file in it, where the daemon's user can neither make nor remove anything. */
let etc: string;

beforeEach(() => {
  if (!root) return;
  home = mkdtempSync(join(tmpdir(), 'pa-as-root-'));
  chmodSync(home, 0o755);
  etc = join(home, 'etc');
  mkdirSync(etc, 0o755);
  writeFileSync(join(etc, 'precious.conf'), "root's\n");
  state = join(home, 'state');
  mkdirSync(state, 0o700);
  const fresh = new State(state);
  expect(fresh.sourceId).toMatch(/^[0-9a-f]{32}$/);
  fresh.close();
  config = join(home, 'config.yml');
  writeFileSync(
    config,
    `state: ${state}\ncontrol: ${home}/control.sock\nsource: { database: ${home}/data/posternproxy.db }\nsinks: { audit: { type: file, directory: ${home}/audit } }\napi: { enabled: false }\n`,
  );
  own();
});
afterEach(() => {
  if (root) rmSync(home, { recursive: true });
});

/** All of the state is the daemon's. */
function own(): void {
  chownSync(state, DAEMON, DAEMON);
  for (const name of readdirSync(state)) lchownSync(join(state, name), DAEMON, DAEMON);
}

const command = (...args: string[]) => run([...args, '--config', config]);
const COMMANDS: ReadonlyArray<readonly string[]> = [
  ['token', 'list'],
  ['token', 'create', 'grafana'],
  ['token', 'revoke', 'grafana'],
  ['bans'],
  ['explain', 'auditd:1'],
  ['check'],
  ['query', '--source', 'auditd'],
];

const OPENING = COMMANDS.filter(([name, verb]) => name === 'check' || name === 'query' || verb === 'create');

describe.skipIf(!root)("root's commands in the state of a stopped daemon", () => {
  it("root's commands create, list and revoke tokens, and leave only files of the daemon", () => {
    expect(command('token', 'create', 'grafana').out).toMatch(/^pat_/);
    expect(command('token', 'list').out).toContain('grafana');
    expect(command('explain', 'auditd:1').out).toContain('grafana');
    expect(command('token', 'revoke', 'grafana').code).toBe(0);
    for (const name of readdirSync(state)) expect(lstatSync(join(state, name)).uid).toBe(DAEMON);
  });

  it.each(COMMANDS)("root's commands delete no file that a prepared journal names: %s %s", (...args) => {
    const precious = join(etc, 'precious.conf');
    rmSync(join(state, 'state.db'));
    prepareHotJournal(join(state, 'state.db'), precious);
    own();
    command(...args);
    expect(readFileSync(precious, 'utf8')).toBe("root's\n");
  });

  it.each(OPENING)("root's commands create no file behind a link: %s %s", (...args) => {
    for (const name of ['lock.db', 'lock.db-journal', 'state.db-wal', 'state.db-journal', 'state.db-shm']) {
      rmSync(join(state, name), { force: true });
      symlinkSync(join(etc, 'nologin'), join(state, name));
      own();
      command(...args);
      expect(readdirSync(etc)).toEqual(['precious.conf']);
      rmSync(join(state, name), { force: true });
    }
  });

  it.each(['a link', 'a file with a second name'])(
    "root's commands write to no database of Postern through %s",
    (kind) => {
      // Where only the owner of the database may read it, the daemon runs as that user, and so do commands.
      const postern = join(home, 'posternproxy.db');
      const db = new Database(postern);
      db.exec('CREATE TABLE audit_log (id INTEGER PRIMARY KEY)');
      db.close();
      chownSync(postern, DAEMON, DAEMON);
      const before = readFileSync(postern);
      rmSync(join(state, 'state.db'));
      if (kind === 'a link') symlinkSync(postern, join(state, 'state.db'));
      else linkSync(postern, join(state, 'state.db'));
      own();
      const { code, err } = command('token', 'create', 'grafana');
      expect(code).toBe(1);
      expect(err).toContain(`${state}/state.db is ${kind}`);
      expect(readFileSync(postern)).toEqual(before);
      expect(command('check').out).toContain(`${state}/state.db is ${kind}`);
    },
  );

  it.each([
    ['query', '--source', 'auditd'],
    ['export', '--source', 'auditd'],
    ['stats', '--source', 'auditd'],
  ])("root's commands read no file of root behind a link: %s", (...args) => {
    const secret = join(etc, 'secret.db');
    renameSync(join(state, 'state.db'), secret);
    const db = new Database(secret);
    db.exec("INSERT INTO audit_log (created_at, action) VALUES ('2026-11-22 20:21:00', 'hidden_word')");
    db.close();
    for (const suffix of ['', '-wal', '-shm']) rmSync(join(state, `state.db${suffix}`), { force: true });
    chownSync(secret, 0, 0);
    chmodSync(secret, 0o600);
    symlinkSync(secret, join(state, 'state.db'));
    own();
    const { out, err } = command(...args);
    expect(out).not.toContain('hidden_word');
    expect(err).toContain(`${state}/state.db is a link`);
    rmSync(join(state, 'state.db'));
    renameSync(secret, join(state, 'state.db'));
    own();
    expect(command(...args).out).toContain('hidden_word');
  });

  it("root's commands reject a directory that is another user's link, and one of root's that others can write", () => {
    const real = join(home, 'real');
    renameSync(state, real);
    symlinkSync(real, state);
    lchownSync(state, DAEMON, DAEMON);
    expect(command('token', 'list').err).toContain(`${state} is a link`);
    rmSync(state);
    renameSync(real, state);
    chownSync(state, 0, 0);
    chmodSync(state, 0o777);
    expect(command('token', 'list').err).toContain("is root's, but others may write to it");
    chmodSync(state, 0o700);
    expect(command('token', 'list').code).toBe(0);
    chownSync(home, DAEMON, DAEMON);
    expect(command('token', 'list').err).toContain(`others may write to ${home}`);
  });

  it('index --yes opens the database as its owner', () => {
    const precious = join(etc, 'precious.conf');
    const postern = join(home, 'data/posternproxy.db');
    mkdirSync(join(home, 'data'));
    chownSync(join(home, 'data'), DAEMON, DAEMON);
    prepareHotJournal(postern, precious, 'audit_log');
    for (const suffix of ['', '-journal']) chownSync(`${postern}${suffix}`, DAEMON, DAEMON);
    const made = command('index', '--yes');
    expect(made.out + made.err).toMatch(/disk I\/O error/); // its owner may not delete it
    expect(readFileSync(precious, 'utf8')).toBe("root's\n");
  });
});
