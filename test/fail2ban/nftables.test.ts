import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { config } from '../../src/config/schema.js';
import { renderJail } from '../../src/fail2ban/render-jail.js';
import { hasFail2ban, PrivateFail2ban } from '../commands/private-fail2ban.js';
import { withoutNamespaces } from '../sinks/syslog/namespace.js';

// The jail as it is rendered for `banaction: nftables`, in the real fail2ban, with the real nft, in a network namespace.

const there = hasFail2ban() && !withoutNamespaces();
if (!there) console.warn('SKIPPED: no fail2ban or no namespaces: bans of networks by nftables');

const SHIPPED = resolve(import.meta.dirname, '../../fail2ban/action.d');
const SPACE = `postern-nft-${process.pid}`;
const HOST = '2001:db8:ffff::1';
const NETWORK = '2001:db8:1:2::/64';
const [ATTACKER, NEIGHBOUR, OTHER] = ['2001:db8:1:2::7', '2001:db8:1:2::8', '2001:db8:1:3::7'] as const;

/** Listens at the port of Postern, connects to itself from an address, and says how that went. */
const CONNECT = `const net = require('node:net');
const [host, from] = process.argv.slice(1);
const server = net.createServer((socket) => socket.end()).listen(81, host, () => {
  const said = (word) => { console.log(word); process.exit(0); };
  net.connect({ host, port: 81, localAddress: from }).on('connect', () => said('open')).on('error', () => said('refused'));
});`;

function inside(...command: string[]): string {
  return execFileSync('ip', ['netns', 'exec', SPACE, ...command], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

const connect = (from: string) => inside(process.execPath, '-e', CONNECT, HOST, from).trim();

describe.skipIf(!there)('bans of networks by nftables', () => {
  let fail2ban: PrivateFail2ban;

  beforeAll(() => {
    execFileSync('ip', ['netns', 'add', SPACE]);
    inside('ip', 'link', 'set', 'lo', 'up');
    for (const address of [HOST, ATTACKER, NEIGHBOUR, OTHER])
      inside('ip', 'address', 'add', `${address}/128`, 'dev', 'lo', 'nodad');
    fail2ban = new PrivateFail2ban(null, `ip netns exec ${SPACE}`);
    const etc = join(fail2ban.directory, 'etc');
    cpSync('/etc/fail2ban/action.d', join(etc, 'action.d'), { recursive: true });
    cpSync(SHIPPED, join(etc, 'action.d'), { recursive: true });
    mkdirSync(join(etc, 'jail.d'));
    const rules = { banaction: 'nftables', bans: join(fail2ban.directory, 'bans.log') };
    const jail = renderJail(config.parse({ fail2ban: rules }).fail2ban, {
      authDirectory: fail2ban.authDirectory,
    });
    writeFileSync(join(etc, 'jail.d/posternproxy.conf'), jail);
    fail2ban.client('reload', '--restart');
  }, 60_000);

  afterAll(() => {
    fail2ban?.close();
    execFileSync('ip', ['netns', 'delete', SPACE]);
  });

  const bans = async (change: 'banip' | 'unbanip', address: string) => {
    fail2ban.client('set', 'posternproxy', change, address);
    const wanted = change === 'banip' ? 'ban' : 'unban';
    for (let tries = 0; tries < 200; tries++) {
      if (report().some(({ event, ip }) => event === wanted && ip === address)) return;
      await sleep(50);
    }
    throw new Error(`no ${wanted} of ${address}: ${readFileSync(join(fail2ban.directory, 'log'), 'utf8')}`);
  };
  const report = () => {
    try {
      const text = readFileSync(join(fail2ban.directory, 'bans.log'), 'utf8');
      return text
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as { event: string; ip: string });
    } catch {
      return [];
    }
  };

  it('lock out the network and nobody else, even if an address in it is already banned', async () => {
    expect([ATTACKER, NEIGHBOUR, OTHER].map(connect)).toEqual(['open', 'open', 'open']);
    await bans('banip', ATTACKER);
    expect([ATTACKER, NEIGHBOUR, OTHER].map(connect)).toEqual(['refused', 'open', 'open']);
    await bans('banip', NETWORK);
    await bans('banip', '203.0.113.7');
    expect([ATTACKER, NEIGHBOUR, OTHER].map(connect)).toEqual(['refused', 'refused', 'open']);
    const rules = inside('nft', 'list', 'ruleset');
    expect(rules).toMatch(/flags interval/);
    expect(rules).toContain(NETWORK);
    expect(rules).toContain('203.0.113.7');
    await bans('unbanip', NETWORK);
    expect([NEIGHBOUR, OTHER].map(connect)).toEqual(['open', 'open']);
    expect(readFileSync(join(fail2ban.directory, 'log'), 'utf8')).not.toMatch(/ERROR|Traceback/);
  }, 60_000);

  it("are refused by the set of fail2ban's own action", () => {
    inside('nft', 'add table inet its; add set inet its six { type ipv6_addr; }');
    expect(() => inside('nft', 'add', 'element', 'inet', 'its', 'six', `{ ${NETWORK} }`)).toThrow(/interval/);
  });
});
