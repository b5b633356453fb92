import { expect, it } from 'vitest';
import {
  fail2banBans,
  fail2banReport,
  fail2banStatus,
  type Run,
  testFilter,
  unban,
} from '../../src/fail2ban/client.js';
import { hostInstant } from '../../src/fail2ban/host-time.js';

const status = (banned: string) => `Status for the jail: posternproxy
|- Filter
|  |- Currently failed:\t1
|  |- Total failed:\t42
|  \`- File list:\t/var/log/posternproxy/auth/fail2ban.0.log /var/log/posternproxy/auth/fail2ban.1.log
\`- Actions
   |- Currently banned:\t2
   |- Total banned:\t7
   \`- Banned IP list:\t${banned}`;

/** Answers by the first arguments, and remembers what it was asked. */
function fake(answers: Record<string, Partial<Awaited<ReturnType<Run>>>>): Run & { asked: string[] } {
  const asked: string[] = [];
  const run: Run = (program, args) => {
    const words = [program, ...args].join(' ');
    asked.push(words);
    const key = Object.keys(answers).find((prefix) => words.startsWith(prefix));
    return Promise.resolve({
      exitCode: 0,
      stdout: '',
      stderr: '',
      ...(key === undefined ? {} : answers[key]),
    });
  };
  return Object.assign(run, { asked });
}

it('reads the status of a jail', async () => {
  const run = fake({
    'fail2ban-client status posternproxy': { stdout: status('203.0.113.7 2001:db8::/64') },
  });
  expect(await fail2banStatus('posternproxy', run)).toEqual({
    banned: ['203.0.113.7', '2001:db8::/64'],
    currentlyFailed: 1,
    totalFailed: 42,
    totalBanned: 7,
    logFiles: ['/var/log/posternproxy/auth/fail2ban.0.log', '/var/log/posternproxy/auth/fail2ban.1.log'],
  });
});

it('reads an empty list of bans', async () => {
  const run = fake({ 'fail2ban-client status': { stdout: status('').trimEnd() } });
  expect((await fail2banStatus('posternproxy', run)).banned).toEqual([]);
});

const BANNER = 'Fail2Ban v1.0.2 reads log file that contains password failure report\nand bans.\n\n';
const BANS = '203.0.113.7 \t2026-11-23 21:22:22 + 3890 = 2026-11-23 22:27:12\n2001:db8::/64';

it('asks one process for the status and the bans', async () => {
  const stdout = `${BANNER}fail2ban> ${status('203.0.113.7 2001:db8::/64')}\nfail2ban> ${BANS}\nfail2ban> `;
  const run = fake({ 'fail2ban-client -i': { stdout } });
  const report = await fail2banReport('posternproxy', run);
  expect(report.status).toMatchObject({ banned: ['203.0.113.7', '2001:db8::/64'], totalBanned: 7 });
  expect(report.bans.map(({ address }) => address)).toEqual(['203.0.113.7', '2001:db8::/64']);
  expect(run.asked).toEqual(['fail2ban-client -i']);
});

it.each([
  ['has no interactive mode', { exitCode: 255, stderr: 'Readline not available' }],
  ['ends within it', { exitCode: 0, stdout: `${BANNER}fail2ban> ${status('203.0.113.7')}\nfail2ban> ` }],
  [
    'refuses a command',
    { stdout: `${BANNER}fail2ban> ${status('')}\nfail2ban> Sorry but the command is invalid\nfail2ban> ` },
  ],
])('asks one at a time where fail2ban-client %s', async (_, answer) => {
  const run = fake({
    'fail2ban-client -i': answer,
    'fail2ban-client status': { stdout: status('203.0.113.7') },
    'fail2ban-client get': { stdout: BANS },
  });
  const report = await fail2banReport('posternproxy', run);
  expect(report.status.banned).toEqual(['203.0.113.7']);
  expect(report.bans).toHaveLength(2);
  expect(run.asked).toHaveLength(3);
});

it('reads bans with their times, a permanent one without an end', async () => {
  const at = (wall: string) => new Date(hostInstant(wall)).toISOString();
  const stdout = `10.77.0.10 \t2026-11-23 21:22:22 + 3890 = 2026-11-23 22:27:12
10.77.0.77 \t2026-11-23 21:28:15 + -1 = 9999-12-31 23:59:59\n10.77.0.78\n`;
  expect(await fail2banBans('posternproxy', fake({ 'fail2ban-client get': { stdout } }))).toEqual([
    { address: '10.77.0.10', since: at('2026-11-23 21:22:22'), until: at('2026-11-23 22:27:12') },
    { address: '10.77.0.77', since: at('2026-11-23 21:28:15'), until: null },
    { address: '10.77.0.78', since: null, until: null },
  ]);
});

it.each([
  ['an address', '203.0.113.7', ['203.0.113.7']],
  ['a network', '2001:db8::/64', ['2001:db8::/64']],
  ['an address in a banned network', '2001:db8::5', ['2001:db8::/64']],
  ['an address that is not banned', '203.0.113.8', []],
])('unbans %s', async (_, address, expected) => {
  const run = fake({ 'fail2ban-client status': { stdout: status('203.0.113.7 2001:db8::/64') } });
  expect(await unban('posternproxy', address, run)).toEqual(expected);
  expect(run.asked.slice(1)).toEqual(
    expected.map((hit) => `fail2ban-client set posternproxy unbanip ${hit}`),
  );
});

it.each(['example.org', '', '--all', '1.2.3'])(
  'refuses to unban %j, which is not an address',
  async (address) => {
    const run = fake({});
    await expect(unban('posternproxy', address, run)).rejects.toMatchObject({ code: 'USAGE' });
    expect(run.asked).toEqual([]);
  },
);

it.each([
  [{ code: 'ENOENT', exitCode: undefined }, /not installed.*apt-get install fail2ban/],
  [{ timedOut: true, exitCode: undefined }, /did not answer.*systemctl status/],
  [
    {
      exitCode: 255,
      stderr: 'ERROR Permission denied to socket: /var/run/fail2ban/fail2ban.sock, (you must be root)',
    },
    /only root.*(with sudo|as root)/,
  ],
  [
    { exitCode: 255, stderr: 'ERROR Failed to access socket path: … Is fail2ban running?' },
    /not running.*systemctl start/,
  ],
  [
    { exitCode: 255, stdout: "Sorry but the jail 'posternproxy' does not exist" },
    /no jail posternproxy.*install\.sh/,
  ],
  [{ exitCode: 1, stderr: 'something\nelse' }, /something else.*fail2ban\.log/],
])('%j is said with a next step', async (answer, message) => {
  await expect(fail2banStatus('posternproxy', fake({ 'fail2ban-client': answer }))).rejects.toMatchObject({
    code: 'FAIL2BAN_FAILED',
    message: expect.stringMatching(message),
  });
});

it('reports a text that is not a status', async () => {
  await expect(fail2banStatus('x', fake({}))).rejects.toMatchObject({ code: 'FAIL2BAN_FAILED' });
});

it.each([
  [{ code: 'ENOENT', exitCode: undefined }, /not installed/],
  [{ stdout: "ERROR: No failure-id group in 'x'" }, /could not use the filter/],
  [{ exitCode: 255, stdout: '' }, /could not use the filter/],
])('a filter that can not be used is said: %j', async (answer, message) => {
  await expect(testFilter('x\n', 'x', fake({ 'fail2ban-regex': answer }))).rejects.toMatchObject({
    code: 'FAIL2BAN_FAILED',
    message: expect.stringMatching(message),
  });
});
