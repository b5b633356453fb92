import { execFileSync, spawnSync } from 'node:child_process';

/** A connection to host and port, in a line: open, refused, or timeout. */
const CONNECT = `const [host, port] = process.argv.slice(1);
const said = (word) => { console.log(word); process.exit(0); };
const socket = require('node:net').connect({ host, port }).on('connect', () => said('open')).on('error', () => said('refused'));
setTimeout(() => said('timeout'), 5_000);`;
const LISTEN = `require('node:net').createServer((socket) => socket.end()).listen(8443, '10.88.0.2', () => console.log('ready'));`;

/**
 * An attacker, a host, and a network of containers on it, as Docker makes it: what comes to port 443 of the host is forwarded to a
 * container, through the chain DOCKER-USER and not through INPUT.
 */
export class ContainerHost {
  private readonly names = ['attacker', 'host', 'inside'].map((name) => `pa-${name}-${process.pid}`);
  readonly host = this.names[1] ?? '';
  readonly inside = this.names[2] ?? '';
  readonly attacker = '203.0.113.7';

  constructor() {
    const [attacker = '', host = '', inside = ''] = this.names;
    const link = (from: string, to: string, names: readonly [string, string]) =>
      this.ip('-n', from, 'link', 'add', names[0], 'type', 'veth', 'peer', 'name', names[1], 'netns', to);
    try {
      for (const name of this.names) {
        this.ip('netns', 'add', name);
        this.ip('-n', name, 'link', 'set', 'lo', 'up');
      }
      link(host, attacker, ['wan', 'eth0']);
      link(host, inside, ['docker0', 'eth0']);
      const addresses = [
        [attacker, 'eth0', `${this.attacker}/24`],
        [host, 'wan', '203.0.113.1/24'],
        [host, 'docker0', '10.88.0.1/24'],
        [inside, 'eth0', '10.88.0.2/24'],
      ] as const;
      for (const [space, device, address] of addresses) {
        this.ip('-n', space, 'address', 'add', address, 'dev', device);
        this.ip('-n', space, 'link', 'set', device, 'up');
      }
      this.ip('-n', inside, 'route', 'add', 'default', 'via', '10.88.0.1');
      this.in(host, 'sh', '-c', 'echo 1 >/proc/sys/net/ipv4/ip_forward');
      const published = ['-p', 'tcp', '--dport', '443', '-j', 'DNAT', '--to-destination', '10.88.0.2:8443'];
      this.in(host, 'iptables', '-t', 'nat', '-A', 'PREROUTING', '-i', 'wan', ...published);
      this.in(host, 'iptables', '-N', 'DOCKER-USER');
      this.in(host, 'iptables', '-A', 'DOCKER-USER', '-j', 'RETURN');
      this.in(host, 'iptables', '-I', 'FORWARD', '-j', 'DOCKER-USER');
    } catch (error) {
      this.remove();
      throw error;
    }
  }

  /** Runs a command on one of the three. */
  in(space: string, ...command: string[]): string {
    return execFileSync('ip', ['netns', 'exec', space, ...command], { encoding: 'utf8' });
  }

  /** The command that serves the published port, to be run inside. */
  readonly listen = ['ip', 'netns', 'exec', this.inside, process.execPath, '-e', LISTEN] as const;

  /** What the attacker meets at the published port. */
  attack(): string {
    return this.in(this.names[0] ?? '', process.execPath, '-e', CONNECT, '203.0.113.1', '443').trim();
  }

  remove(): void {
    for (const name of this.names) spawnSync('ip', ['netns', 'delete', name]);
  }

  private ip(...args: string[]): void {
    execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] });
  }
}
