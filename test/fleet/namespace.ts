import { execFileSync, spawnSync } from 'node:child_process';

export function canMakeNamespaces(): boolean {
  return process.getuid?.() === 0 && spawnSync('ip', ['-V']).status === 0;
}

function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] });
}

/** A network of hosts, each in a network namespace, behind a bridge in another namespace. It does not touch this machine's networks. */
export class Network {
  private readonly switch = `fleet-${process.pid}`;
  private readonly hosts: Host[] = [];

  constructor() {
    ip('netns', 'add', this.switch);
    ip('-n', this.switch, 'link', 'add', 'br0', 'type', 'bridge');
    ip('-n', this.switch, 'link', 'set', 'br0', 'up');
  }

  host(name: string): Host {
    const number = this.hosts.length + 1;
    const host = new Host(`${this.switch}-${name}`, `198.19.0.${number}`, this.switch, `port${number}`);
    this.hosts.push(host);
    return host;
  }

  async close(): Promise<void> {
    for (const { namespace } of this.hosts) ip('netns', 'delete', namespace);
    ip('netns', 'delete', this.switch);
  }
}

/** A host of the network. It can be disconnected without a notice to either side. */
export class Host {
  constructor(
    readonly namespace: string,
    readonly address: string,
    private readonly bridge: string,
    private readonly port: string,
  ) {
    ip('netns', 'add', namespace);
    ip('-n', namespace, 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', port, 'netns', bridge);
    ip('-n', bridge, 'link', 'set', port, 'master', 'br0', 'up');
    ip('-n', namespace, 'address', 'add', `${address}/24`, 'dev', 'eth0');
    for (const link of ['lo', 'eth0']) ip('-n', namespace, 'link', 'set', link, 'up');
  }

  /** The command that runs a command on this host. */
  get wrap(): readonly string[] {
    return ['ip', 'netns', 'exec', this.namespace];
  }

  cut(): void {
    ip('-n', this.bridge, 'link', 'set', this.port, 'down');
  }

  mend(): void {
    ip('-n', this.bridge, 'link', 'set', this.port, 'up');
  }
}
