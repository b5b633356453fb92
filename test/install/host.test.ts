import { expect, it } from 'vitest';
import { bash } from './bash.js';

it.each([
  ['debian 12 ""', 'supported'],
  ['debian 13 ""', 'supported'],
  ['ubuntu 22.04 debian', 'supported'],
  ['ubuntu 24.04 debian', 'supported'],
  ['debian 11 ""', 'untested'],
  ['linuxmint 22 "ubuntu debian"', 'untested'],
  ['fedora 42 ""', 'foreign'],
])('%s is %s', (system, verdict) => {
  expect(bash(`distribution_verdict ${system}`).trim()).toBe(verdict);
});

it.each([
  ['v20.19.0', true],
  ['v20.20.2', true],
  ['v22.0.0', true],
  ['v24.11.1', true],
  ['v20.18.3', false],
  ['v18.20.4', false],
  ['v8.99.0', false],
  ['', false],
])('Node.js %j is new enough: %s', (version, enough) => {
  expect(bash(`node_is_new_enough "${version}" && echo yes || echo no`).trim()).toBe(enough ? 'yes' : 'no');
});

it.each([
  ['203.0.113.7', '203.0.113.7'],
  ['2001:db8::7', '2001:db8::7'],
  ['fe80::1%eth0', 'fe80::1'],
  ['::ffff:203.0.113.7', '::ffff:203.0.113.7'],
  ['client.example.net', ''],
  [':0', ''],
  ['tmux(123).%0', ''],
  ['$(reboot)', ''],
  ['', ''],
])('of %j the address is %j', (text, address) => {
  expect(bash('plain_address "$1"', { args: [text] }).trim()).toBe(address === '' ? '' : address);
});

const { SSH_CONNECTION: _connection, SSH_CLIENT: _client, ...withoutSsh } = process.env;

it('finds the address of an SSH session in the environment', () => {
  const env = { ...withoutSsh, SSH_CONNECTION: '203.0.113.7 50000 198.51.100.1 22' };
  expect(bash('ssh_address', { env }).trim()).toBe('203.0.113.7');
});

it('finds the address in the environment of the calling shell, because sudo removes it', () => {
  const line = `SSH_CONNECTION='2001:db8::7 50000 2001:db8::1 22' bash -c '
    env -u SSH_CONNECTION bash -c ". install/platform.sh; ssh_address"; :'`;
  expect(bash(line, { env: withoutSsh }).trim()).toBe('2001:db8::7');
});
