import { type Fact, homeNetwork, mainUserKey } from './facts.js';
import { DAY_MS, type KnownNetworks } from './known-networks.js';
import type { NewAlert } from './raised-alerts.js';
import { type AlertRule, relatedRows } from './rule.js';

export interface NewNetworkOptions {
  /** How long a network stays known, ms. */
  readonly memory: number;
  readonly networks: KnownNetworks;
  /** False until the table was read for networks: the first logins then raise nothing. */
  readonly isReady: () => boolean;
}

/** A user's login from a network that is not known for that user. A user without any known network has nothing to compare with. */
export class NewNetwork implements AlertRule {
  readonly span = 0;
  readonly size = 0;
  private readonly memoryDays: number;

  constructor(private readonly options: NewNetworkOptions) {
    this.memoryDays = Math.ceil(options.memory / DAY_MS);
  }

  forget(): void {
    // What is known is in state.db.
  }

  recall(): void {
    // Each login is learned when it is first read.
  }

  /** Any login, live or not. */
  learn({ role, user, address, time }: Pick<Fact, 'role' | 'user' | 'address' | 'time'>): void {
    const key = mainUserKey(user);
    if (role === 'login' && key !== null && address !== null) this.options.networks.learn(key, address, time);
  }

  observe(fact: Fact): NewAlert | null {
    const { role, user, address, time, row } = fact;
    const key = mainUserKey(user);
    if (role !== 'login' || key === null || address === null) return null;
    const { networks, isReady } = this.options;
    const familiarity = networks.familiarity(key, address, time, this.memoryDays);
    networks.learn(key, address, time);
    if (familiarity !== 'new' || !isReady()) return null;
    const network = homeNetwork(address);
    return {
      action: 'alert.new_network',
      cause: JSON.stringify(['new_network', key, network]),
      window: DAY_MS,
      fact,
      related: relatedRows([row]),
      details: { network, memory_days: this.memoryDays },
    };
  }
}
