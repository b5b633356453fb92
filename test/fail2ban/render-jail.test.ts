import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { type ConfigInput, config, type Fail2banConfig } from '../../src/config/schema.js';
import { renderJail } from '../../src/fail2ban/render-jail.js';

const authDirectory = '/var/log/posternproxy/auth';

function settings(changes: ConfigInput['fail2ban'] = {}): Fail2banConfig {
  return config.parse({ fail2ban: changes }).fail2ban;
}

function render(changes: ConfigInput['fail2ban'] = {}, chain?: string): string {
  return renderJail(settings(changes), { authDirectory, ...(chain === undefined ? {} : { chain }) });
}

/** The options of the jail; of a list, all its lines. */
function options(text: string): Record<string, string[]> {
  const found: Record<string, string[]> = {};
  let last: string[] = [];
  for (const line of text.split('\n')) {
    const option = /^(\w+) = (.*)$/.exec(line);
    if (option) {
      last = [option[2] ?? ''];
      found[option[1] ?? ''] = last;
    } else if (/^\s+\S/.test(line)) {
      last.push(line.trim());
    }
  }
  return found;
}

it('the shipped jail is the rendering of the defaults', () => {
  expect(readFileSync('fail2ban/jail.d/posternproxy.conf', 'utf8')).toBe(render());
});

it('the default jail is as the product page says: 5 failures, 10 minutes, 1 hour, iptables', () => {
  expect(options(render())).toMatchObject({
    enabled: ['true'],
    filter: ['posternproxy'],
    logpath: [`${authDirectory}/fail2ban.0.log`, `${authDirectory}/fail2ban.1.log`],
    usedns: ['no'],
    maxretry: ['5'],
    findtime: ['600'],
    bantime: ['3600'],
    banaction: ['iptables-multiport'],
    port: ['80,81,443'],
  });
});

it('only ignoreip is inherited from the [DEFAULT] of a distribution', () => {
  const set = Object.keys(options(render()));
  expect(set).toEqual(
    expect.arrayContaining(['backend', 'banaction', 'action', 'ignoreself', 'logencoding', 'maxmatches']),
  );
  expect(set).not.toContain('ignoreip');
});

const tcp = '%(banaction)s[name="posternproxy-tcp", port="%(port)s", protocol="tcp", chain="INPUT"]';
const udp = '%(banaction)s[name="posternproxy-udp", port="%(port)s", protocol="udp", chain="INPUT"]';
const forward =
  'posternproxy-forward[name="posternproxy-fwd", chain="DOCKER-USER", port="%(port)s", protocol="tcp,udp"]';
const report = 'posternproxy-report[name="posternproxy", bans="/var/log/posternproxy/bans/bans.log"]';

it.each<[string, ConfigInput['fail2ban'], string | undefined, string[]]>([
  ['chain auto is INPUT', {}, undefined, [tcp, udp, report]],
  ['chain auto is what install.sh found', {}, 'INPUT,DOCKER-USER', [tcp, udp, forward, report]],
  ['a chain of the configuration wins', { chain: 'INPUT' }, 'INPUT,DOCKER-USER', [tcp, udp, report]],
  ['DOCKER-USER alone', { chain: 'DOCKER-USER' }, undefined, [forward, report]],
  ['both, with a space', { chain: 'INPUT, DOCKER-USER' }, undefined, [tcp, udp, forward, report]],
  ['one protocol', { protocols: ['tcp'] }, undefined, [tcp, report]],
  [
    'nftables has a chain of its own',
    { banaction: 'nftables' },
    undefined,
    [tcp.replace(', chain="INPUT"', ''), udp.replace(', chain="INPUT"', ''), report],
  ],
  [
    'an action that knows no protocols gets one line',
    { banaction: 'ufw' },
    undefined,
    ['%(banaction)s[name="posternproxy", port="%(port)s", protocol="tcp,udp"]', report],
  ],
])('%s', (_, changes, chain, expected) => {
  expect(options(render(changes, chain)).action).toEqual(expected);
});

it.each([
  ['nftables', 'posternproxy-nftables'],
  ['nftables-multiport', 'posternproxy-nftables'],
  ['nftables-allports', 'posternproxy-nftables[type=allports]'],
  ['nftables[type=allports]', 'posternproxy-nftables[type=allports]'],
  ['nftables-allports[blocktype=drop]', 'posternproxy-nftables[type=allports, blocktype=drop]'],
  ['nftables-of-mine', 'nftables-of-mine'],
  ['iptables-multiport', 'iptables-multiport'],
  ['iptables-ipset-proto6', 'iptables-ipset-proto6'],
])('%s becomes %s, as networks are banned', (banaction, rendered) => {
  expect(options(render({ banaction })).banaction).toEqual([rendered]);
});

it.each(['nftables', 'nftables-allports', 'iptables-multiport'])(
  '%s stays with ipv6_prefix: 128',
  (banaction) => {
    expect(options(render({ banaction, ipv6_prefix: 128 })).banaction).toEqual([banaction]);
  },
);

it('times are whole seconds, rounded up', () => {
  expect(options(render({ find_time: '1500ms', ban_time: '100ms' }))).toMatchObject({
    findtime: ['2'],
    bantime: ['1'],
  });
});

it.each<[string, ConfigInput['fail2ban']]>([
  ['jail', { jail: 'x]\nenabled' }],
  ['jail', { jail: 'a-name-of-21-letters-' }],
  ['chain', { chain: 'INPUT"; reboot' }],
  ['chain', { chain: ' ' }],
  ['chain', { chain: 'INPUT,INPUT' }],
  ['chain', { chain: 'DOCKER-USER,FORWARD' }],
  ['banaction', { banaction: 'x\naction = y' }],
  ['banaction', { banaction: '%(x)s' }],
  ['directory', { bans: '/var/log/a b' }],
  ['directory', { bans: "/var/log/'$(reboot)'" }],
])('%s: what would break the jail file is refused: %j', (key, changes) => {
  expect(() => render(changes)).toThrow(
    expect.objectContaining({ code: 'CONFIG_INVALID', message: expect.stringContaining(`fail2ban.${key}`) }),
  );
});
