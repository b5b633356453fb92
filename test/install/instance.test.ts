import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { parseConfig } from '../../src/config/load.js';
import { useInstance } from '../../src/instance.js';
import { bash } from './bash.js';

const NAMES = [
  'b',
  'gateway-2',
  'a1',
  'abcdefghijkl',
  'abcdefghijklm',
  '2b',
  '-b',
  'b-',
  'B',
  'b_c',
  '',
  'b/c',
];

it('install.sh and the program agree on the names of instances', () => {
  const shell = NAMES.map((name) =>
    bash('. install/instance.sh; if is_instance_name "$1"; then echo yes; else echo no; fi', {
      args: [name],
    }),
  );
  const env = { ...process.env };
  const program = NAMES.map((name) => {
    try {
      useInstance(name, true);
      return 'yes\n';
    } catch {
      return 'no\n';
    }
  });
  process.env = env;
  expect(shell).toEqual(program);
  expect(program.filter((answer) => answer === 'yes\n')).toHaveLength(4);
});

it('the configuration of an instance names none of the places of the first daemon', () => {
  const text = bash("HERE=$PWD PROGRAM=''; . install/instance.sh; use_instance b; instance_config");
  const config = parseConfig(text, 'config.yml');
  expect([config.state, config.control, config.fail2ban.jail, config.fail2ban.bans]).toEqual([
    '/var/lib/postern-auditd@b',
    '/run/postern-auditd@b/control.sock',
    'postern-b',
    '/var/log/posternproxy@b/bans/bans.log',
  ]);
  const used = text.replace(/^ *#.*$/gm, '');
  expect(used).not.toMatch(/postern-auditd\b(?!@b)|\/log\/posternproxy\b(?!@b)|8181|jail: posternproxy/);
});

// The template differs from the unit of the first daemon by its name, and by what it says about the other.
it.each([
  [
    'postern-auditd.service',
    ['Wants=', 'Environment=POSTERN_AUDITD_INSTANCE', 'InaccessiblePaths=', 'Also='],
  ],
  ['postern-auditd-logs.service', []],
  ['postern-auditd-purge.service', ['Environment=POSTERN_AUDITD_INSTANCE']],
  ['postern-auditd-purge.socket', []],
])('the template of %s is as confined', (name, more) => {
  const directives = (file: string) =>
    readFileSync(`systemd/${file}`, 'utf8')
      .split('\n')
      .filter((line) => /^[A-Z[]/.test(line))
      .map((line) => line.replaceAll('@%i', '').replace(' (%i)', ''))
      .map((line) =>
        line.replace(
          'InaccessiblePaths=-/var/lib/postern-auditd -/run/postern-auditd -',
          'InaccessiblePaths=-',
        ),
      )
      .map((line) =>
        line.replace('-/var/lib/postern-auditd -/var/lib/postern-auditd ', '-/var/lib/postern-auditd '),
      );
  const template = directives(name.replace('.', '@.'));
  expect(template.filter((line) => !more.some((begin) => line.startsWith(begin)))).toEqual(directives(name));
});
