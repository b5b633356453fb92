import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';

/** True where no network namespace can be made; says so, and lets the tests fail where they must run. */
export function withoutNamespaces(): boolean {
  const absent = ['/usr/sbin/ip', '/usr/sbin/nft'].filter((path) => !existsSync(path));
  const why =
    process.getuid?.() !== 0 ? 'not root' : absent.length > 0 ? `${absent.join(', ')} missing` : null;
  if (why === null) return false;
  const what = `no network namespace can be made (${why})`;
  if (process.env.CI !== undefined) throw new Error(what);
  console.warn(`SKIPPED: ${what}`);
  return true;
}

function run(command: string, ...args: string[]): void {
  execFileSync(command, args, { stdio: ['ignore', 'ignore', 'pipe'] });
}

/** Another host: a network namespace behind a veth pair, whose packets can be dropped without a word. */
export class OtherHost {
  readonly name = `postern-${process.pid}`;
  readonly address: string;
  private readonly link = `pa${process.pid % 1_000_000}`;

  /** In 198.18.0.0/15, which is for tests (RFC 2544): four addresses for each process. */
  constructor() {
    const first = (process.pid % 2 ** 15) * 4;
    const at = (n: number) => `198.${18 + (first >> 16)}.${(first >> 8) & 255}.${(first & 255) + n}`;
    this.address = at(2);
    run('ip', 'netns', 'add', this.name);
    try {
      run('ip', 'link', 'add', this.link, 'type', 'veth', 'peer', 'name', 'up0', 'netns', this.name);
      run('ip', 'address', 'add', `${at(1)}/30`, 'dev', this.link);
      run('ip', 'link', 'set', this.link, 'up');
      this.inside('ip', 'address', 'add', `${this.address}/30`, 'dev', 'up0');
      this.inside('ip', 'link', 'set', 'up0', 'up');
      this.inside('ip', 'link', 'set', 'lo', 'up');
    } catch (error) {
      this.remove();
      throw error;
    }
  }

  /** From now on nothing comes in and nothing is said about it, as when a cable is cut or a firewall forgets. */
  cut(): void {
    this.inside(
      'nft',
      'add table inet cut; add chain inet cut in { type filter hook input priority 0; policy drop; }',
    );
  }

  mend(): void {
    this.inside('nft', 'delete table inet cut');
  }

  /** The cable itself: addresses stay, routes go and come back. */
  setLink(state: 'down' | 'up'): void {
    run('ip', 'link', 'set', this.link, state);
  }

  remove(): void {
    run('ip', 'netns', 'delete', this.name);
  }

  private inside(command: string, ...args: string[]): void {
    run('ip', 'netns', 'exec', this.name, command, ...args);
  }
}
