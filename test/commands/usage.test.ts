import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { parseConfig } from '../../src/config/load.js';
import { asUser } from '../support/other-user.js';
import { CLI, run } from './cli.js';

const directory = mkdtempSync(join(tmpdir(), 'postern-auditd-cli-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function file(name: string, text: string): string {
  const path = join(directory, name);
  writeFileSync(path, text);
  return path;
}

const empty = file('empty.yml', '');
const away = file(
  'away.yml',
  `state: ${directory}/state\ncontrol: ${directory}/none.sock\nsource: { database: ${directory}/none.db }\nsinks: { audit: { type: file, directory: ${directory}/audit } }`,
);

describe('exit codes', () => {
  it.each<[string, string[], number, RegExp]>([
    ['no command: the help', [], 2, /^Usage: postern-auditd/],
    ['--help', ['--help'], 0, /^$/],
    ['help of a command', ['help', 'check'], 0, /^$/],
    ['a misspelt command', ['chek'], 2, /^error: unknown command 'chek'\n\(Did you mean check\?\)\n/],
    [
      'a misspelt option',
      ['check', '--jsn'],
      2,
      /^error: unknown option '--jsn'\n\(Did you mean --json\?\)\n\(see postern-auditd check --help\)\n$/,
    ],
    ['a missing argument', ['explain'], 2, /^error: missing required argument 'id'\n/],
    [
      'a value that is none of the choices',
      ['tail', '--outcome', 'maybe'],
      2,
      /Allowed choices are success, failure, unknown\./,
    ],
    ['a number that is none', ['tail', '-n', 'x'], 2, /It must be a whole number\./],
    [
      'an id that is none',
      ['explain', 'x', '--config', empty],
      2,
      /^postern-auditd: "x" is not an id\. Give it as postern:4711, auditd:3 or 4711\n$/,
    ],
    [
      'an action that is none',
      ['tail', '--no-follow', '--action', 'auth.login_failur', '--config', empty],
      1,
      /no action named "auth\.login_failur" in the catalog of events; did you mean auth\.login_failure\?\n/,
    ],
    [
      'a network that is none',
      ['tail', '--ip', '300.1.1.1', '--config', empty],
      2,
      /^postern-auditd: 300\.1\.1\.1 is not an address or a network\. Give --ip as /,
    ],
    [
      'a sink that is none',
      ['tail', '--sink', 'x', '--config', empty],
      2,
      /^postern-auditd: There is no sink of type file called x\. Name one of: audit\n$/,
    ],
    ['no daemon', ['status', '--config', away], 3, /^postern-auditd: No answer from /],
    ['no table', ['explain', '1', '--config', away], 1, /^postern-auditd: \S+none\.db is not there yet; /],
    [
      'no log',
      ['tail', '--no-follow', '--config', away],
      1,
      /^postern-auditd: There are no log files in \S+ yet\. See whether the daemon is running:/,
    ],
    [
      'no configuration',
      ['config', '--config', '/not/there.yml'],
      78,
      /^postern-auditd: The configuration file \/not\/there\.yml does not exist\. Name another with --config/,
    ],
  ])('%s', (_, args, code, err) => {
    const ran = run(args);
    expect(ran.err).toMatch(err);
    expect(ran.code).toBe(code);
    expect(ran.out).toMatch(code === 0 ? /^Usage: postern-auditd/ : /^$/);
  });
});

describe('an invalid configuration', () => {
  const wrong = file('wrong.yml', 'log:\n  levle: info\nmin_free: 1 GB\n');

  it('an invalid configuration is reported in full, without a stack, with exit code 78', () => {
    for (const args of [
      ['run', '--config', wrong],
      ['stats', '--config', wrong],
      ['config', '--check', wrong],
    ]) {
      expect(run(args)).toEqual({
        code: 78,
        out: '',
        err: `postern-auditd: The configuration has 2 problems:
  ${wrong}:2:3: log.levle: found an unknown key. Did you mean level? Allowed here: level, format, file
  ${wrong}:3:11: min_free: found "1 GB", allowed is a size such as 64K, 100M or 2G
Correct it, then: postern-auditd config --check ${wrong}
`,
      });
    }
  });

  it('an invalid configuration is reported with a stack by --debug, before or after the command', () => {
    for (const args of [
      ['--debug', 'config', '--config', wrong],
      ['config', '--config', wrong, '--debug'],
    ]) {
      expect(run(args).err).toMatch(/\n {4}at parseConfig /);
    }
  });

  it('an invalid configuration is reported as docs/reference/CONFIGURATION.md shows', () => {
    const shown = /^\$ postern-auditd config --check [^\n]*\n(postern-auditd: .*?)```/ms.exec(
      readFileSync('docs/reference/CONFIGURATION.md', 'utf8'),
    );
    const path = file(
      'shown.yml',
      'source:\n  database: /srv/postern.db\n  pol_interval: 1s\nsinks:\n  audit:\n    type: fiel\nfail2ban:\n  never_ban: [10.0.0.0/33]\n',
    );
    expect(shown?.[1]).toBe(
      run(['config', '--check', path]).err.replaceAll(path, '/etc/postern-auditd/config.yml'),
    );
  });
});

it('an unreadable configuration is an error, and is not replaced by the defaults', () => {
  const closed = file('closed.yml', '');
  chmodSync(closed, 0);
  chmodSync(directory, 0o755);
  const command = [process.execPath, CLI, 'config', '--config', closed];
  const nobody = { uid: 65_534, gid: 65_534 };
  const [program = '', ...args] = process.getuid?.() === 0 ? asUser(nobody, command) : command;
  const { status, stderr } = spawnSync(program, args, { encoding: 'utf8' });
  expect(stderr).toMatch(
    new RegExp(
      `^postern-auditd: The configuration file ${closed} is not readable for this user\\. Name another`,
    ),
  );
  expect(status).toBe(78);
});

describe('config', () => {
  const path = file('some.yml', 'server: here\nfail2ban: { ban_time: 90m }\n');

  it('config prints the active configuration as a configuration file', () => {
    const { code, out } = run(['config', '--config', path], { POSTERN_AUDITD_STATE: '/elsewhere' });
    expect(code).toBe(0);
    expect(out).toMatch(new RegExp(`^# ${path}\nserver: here\nsource:\n`));
    expect(out).toMatch(/^ {2}ban_time: 90m$/m);
    expect(parseConfig(out, 'out.yml')).toEqual(
      parseConfig('server: here\nstate: /elsewhere\nfail2ban: { ban_time: 90m }', 'c.yml'),
    );
  });

  it('config prints it as JSON', () => {
    const { out } = run(['config', '--config', path, '--json']);
    expect(JSON.parse(out)).toMatchObject({
      server: 'here',
      fail2ban: { ban_time: '90m' },
      sinks: { audit: { mode: '0640' } },
    });
  });

  it('config checks a file', () => {
    expect(run(['config', '--check', path])).toEqual({ code: 0, out: `${path} is valid\n`, err: '' });
  });

  it('config reads the file that the environment names', () => {
    expect(run(['config', '--json'], { POSTERN_AUDITD_CONFIG: path }).out).toContain('"server": "here"');
  });
});

it('the version is that of the package', () => {
  const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };
  expect(run(['--version'])).toEqual({ code: 0, out: `${version}\n`, err: '' });
});

it('the help is printed without loading the modules of the commands', () => {
  const coverage = join(directory, 'coverage');
  for (const args of [['--help'], ['check', '--help'], ['explain']])
    run(args, { NODE_V8_COVERAGE: coverage });
  const loaded = readdirSync(coverage).flatMap((name) => {
    const { result } = JSON.parse(readFileSync(join(coverage, name), 'utf8')) as {
      result: Array<{ url: string }>;
    };
    return result.map(({ url }) => url).filter((url) => url.startsWith('file:'));
  });
  const code = [...new Set(loaded)].map((url) => readFileSync(new URL(url), 'utf8')).join('');
  const packages = {
    commander: 'class Command ',
    zod: 'ZodString',
    yaml: 'YAMLParseError',
    hono: 'class Hono',
  };
  const found = Object.entries(packages).filter(([, mark]) => code.includes(mark));
  expect(found.map(([name]) => name)).toEqual(['commander']);
});

it('a command ends without an error when its reader closes the pipe', () => {
  const { stderr, stdout } = spawnSync(
    '/bin/sh',
    ['-c', `"${process.execPath}" "${CLI}" config --config ${empty} | head -n 1`],
    { encoding: 'utf8' },
  );
  expect(stdout).toBe(`# ${empty}\n`);
  expect(stderr).toBe('');
});
