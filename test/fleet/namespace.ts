import { execFileSync, spawnSync } from 'node:child_process';

export function canMakeNamespaces(): boolean {
  return process.getuid?.() === 0 && spawnSync('ip', ['-V']).status === 0;
}

function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] });
}

/** Another host: a network namespace behind a veth pair that can be cut, without a word to either side. */
export class FarHost {
  readonly name = `fleet-${process.pid}`;
  /** Of this side. */
  readonly near: string;
  private readonly link = `fl${process.pid}`;

  constructor() {
    const subnet = `198.19.${process.pid % 250}`;
    this.near = `${subnet}.1`;
    ip('netns', 'add', this.name);
    ip('link', 'add', this.link, 'type', 'veth', 'peer', 'name', 'up0', 'netns', this.name);
    ip('address', 'add', `${this.near}/30`, 'dev', this.link);
    ip('link', 'set', this.link, 'up');
    const inside = (...args: string[]) => ip('-n', this.name, ...args);
    inside('address', 'add', `${subnet}.2/30`, 'dev', 'up0');
    inside('link', 'set', 'up0', 'up');
    inside('link', 'set', 'lo', 'up');
  }

  /** What runs a command over there. */
  get wrap(): readonly string[] {
    return ['ip', 'netns', 'exec', this.name];
  }

  cut(): void {
    ip('-n', this.name, 'link', 'set', 'up0', 'down');
  }

  mend(): void {
    ip('-n', this.name, 'link', 'set', 'up0', 'up');
  }

  async close(): Promise<void> {
    ip('netns', 'delete', this.name);
  }
}
